/* The language of captions: what must be named, what must not, and how often it is right on the
 * sample corpus.
 * covers: cld2
 */
#include "ingest/langid.h"

#include <pthread.h>

#include "ingest/caption.h"
#include "tests/check.h"
#include "train/random.h"

static void names(const char *text, const char *want)
{
    char tag[CAPTION_MAX_LANGUAGE] = "untouched";
    bool named = langid_detect(text, strlen(text), tag, sizeof tag);
    if (strcmp(tag, want) || named != (strcmp(want, "und") != 0))
        CHECK_FAIL("\"%s\": %s, expected %s", text, tag, want);
}

TEST(sentences)
{
    names("Two dogs play together in the snow .", "en");
    names("Ein Hund springt über ein rotes Hindernis auf der Wiese.", "de");
    names("Un homme en chemise bleue joue de la guitare dans la rue.", "fr");
    names("Un perro marrón corre por la playa con una pelota roja.", "es");
    names("Dvě děti si hrají na písečné pláži u moře.", "cs");
    names("Мужчина едет на велосипеде по улице города.", "ru");
    names("Чоловік їде на велосипеді вулицею міста.", "uk");
    names("رجل يركب دراجة في شارع المدينة", "ar");
    names("एक आदमी सड़क पर साइकिल चला रहा है", "hi");
    names("Một con chó đang chạy trên bãi biển.", "vi");
    names("En mann i blå jakke står på en brygge og ser utover sjøen mens båtene kommer inn.",
          "no");
}

TEST(scripts_that_decide)
{
    names("강아지", "ko");
    names("ねこ", "ja");
    names("赤いドレスの写真", "ja");
    names("iPhoneケース", "ja");
    names("Nike Air Max 270 スニーカー", "ja");
    names("Nike Air Max Limited Edition Sneakers の", "en");
    names("σκύλος", "el");
    names("หมา", "th");
    names("כלב", "he");
    names("שוואַרצער הונט לויפֿט אין שניי און שפּילט מיט אַ פּילקע", "yi");
    names("நாய்", "ta");
    names("շուն", "hy");
    names("ძაღლი", "ka");
}

TEST(chinese)
{
    names("一张连衣裙的照片", "zh");
    names("一張連衣裙的照片", "zh-Hant");
    names("照片中有大象", "zh"); /* nothing that was simplified */
}

TEST(too_little_is_und)
{
    const char *texts[] = {"",
                           " ",
                           "12 x 34",
                           "\U0001f438",
                           "a dog",
                           "Gitarre",           /* Basque, says the detector */
                           "ein Bild: Pinguin", /* Norwegian */
                           "girasol y balón",
                           "на фото: будильник", /* Ukrainian */
                           "青蛙和礼物",         /* Japanese */
                           "犬",
                           "DSC_0042.JPG",
                           "qwrt zxcv plkj mnbv hgfd wrtz",
                           "abc\xff def ghi jkl mno pqr stu vwx"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) names(texts[i], "und");
}

TEST(a_long_text)
{
    static const char *const words[] = {"two ",   "dogs ", "play ",   "in ",   "the ",
                                        "snow ",  "with ", "a ",      "red ",  "ball ",
                                        "while ", "some ", "people ", "watch "};
    static char text[CAPTION_MAX_BYTES + 1];
    char tag[CAPTION_MAX_LANGUAGE];
    size_t n = 0;
    for (uint64_t i = 0; n < CAPTION_MAX_BYTES; i++) {
        const char *word = words[random_bits(1, 1, i) % (sizeof words / sizeof *words)];
        while (*word && n < CAPTION_MAX_BYTES) text[n++] = *word++;
    }
    CHECK(langid_detect(text, CAPTION_MAX_BYTES, tag, sizeof tag));
    CHECK_STR(tag, "en");
    CHECK(!langid_detect(text, CAPTION_MAX_BYTES + 1, tag, sizeof tag));
    CHECK_STR(tag, "und");
}

/* The captions of samples/corpus/public.tsv and field.tsv: lists of two or three things. */
#define MAX_LINES 30000
static struct sample {
    char text[200], language[8], found[CAPTION_MAX_LANGUAGE];
} samples[MAX_LINES];
static int n_samples;

static int by_text(const void *p, const void *q)
{
    const struct sample *a = p, *b = q;
    int order = strcmp(a->text, b->text);
    return order ? order : strcmp(a->language, b->language);
}

/* Each caption once a language. */
static void load(const char *path)
{
    char line[2000];
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    struct caption_rule rule = caption_rule_defaults();
    while (f && fgets(line, sizeof line, f) && n_samples < MAX_LINES) {
        struct sample *s = &samples[n_samples];
        struct caption c;
        char language[8], text[1000];
        if (sscanf(line, "%*[^\t]\t%7[^\t]\t%999[^\t]", language, text) != 2) continue;
        if (!strcmp(language, "lang")) continue;
        if (caption_normalise(&rule, text, strlen(text), &c, NULL, NULL) < 0) continue;
        snprintf(s->text, sizeof s->text, "%s", c.text);
        snprintf(s->language, sizeof s->language, "%s", language);
        n_samples++;
        caption_release(&c);
    }
    if (f) fclose(f);
}

static void load_all(void)
{
    if (n_samples > 0) return;
    load("samples/corpus/public.tsv");
    load("samples/corpus/field.tsv");
    int n = 0;
    qsort(samples, (size_t)n_samples, sizeof *samples, by_text);
    for (int i = 0; i < n_samples; i++)
        if (i == 0 || by_text(&samples[i], &samples[n - 1])) samples[n++] = samples[i];
    n_samples = n;
}

TEST(what_is_named_is_right)
{
    load_all();
    static const char *const languages[] = {"ar", "de", "en", "es", "fr",
                                            "hi", "ja", "ko", "ru", "zh"};
    int n_right = 0, n_wrong = 0, n_und = 0;
    for (size_t l = 0; l < sizeof languages / sizeof *languages; l++) {
        int right = 0, wrong = 0, und = 0;
        for (int i = 0; i < n_samples; i++) {
            struct sample *s = &samples[i];
            if (strcmp(s->language, languages[l])) continue;
            if (!langid_detect(s->text, strlen(s->text), s->found, sizeof s->found))
                und++;
            else if (!strcmp(s->found, s->language))
                right++;
            else
                wrong++;
        }
        printf("# %s: %d right, %d wrong, %d und\n", languages[l], right, wrong, und);
        n_right += right;
        n_wrong += wrong;
        n_und += und;
    }
    CHECK(n_samples > 10000);
    CHECK_EQ(n_right + n_wrong + n_und, n_samples);
    CHECK(n_wrong * 100 < 2 * (n_right + n_wrong)); /* 0.2% when written */
    CHECK(n_und * 100 < 40 * n_samples);            /* 30% */
}

static void *detect_all(void *argument)
{
    (void)argument;
    long n_differ = 0;
    for (int i = 0; i < n_samples; i += 4) {
        char tag[CAPTION_MAX_LANGUAGE];
        langid_detect(samples[i].text, strlen(samples[i].text), tag, sizeof tag);
        n_differ += strcmp(tag, samples[i].found) != 0;
    }
    return (void *)n_differ;
}

TEST(several_threads)
{
    pthread_t thread[4];
    void *n_differ;
    load_all();
    for (int i = 0; i < n_samples; i++)
        langid_detect(samples[i].text, strlen(samples[i].text), samples[i].found,
                      sizeof samples[i].found);
    for (int i = 0; i < 4; i++) CHECK_EQ(pthread_create(&thread[i], NULL, detect_all, NULL), 0);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(pthread_join(thread[i], &n_differ), 0);
        CHECK_EQ((long)n_differ, 0);
    }
}

TEST_MAIN
