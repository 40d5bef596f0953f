/* Makes samples/corpus: pictures of one to three emoji, captions in ten languages, classes, two manifests, broken files.
 *
 *     make sample-corpus                     = build/.../make_corpus samples/corpus
 *
 * Written once per change of the corpus and committed; the same packages give the same bytes (samples/corpus/README.md
 * names them). Invariants: a combination of two or three objects occurs in one split only; every class has single
 * pictures in every split; captions of val and test come in all languages, those of train in six of ten, drawn per picture.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "samples/make_corpus.h"

#define FONT            "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
#define SEED            20240417
#define FIELD_EVERY     10 /* one picture in ten is a field picture */
#define TRAIN_LANGUAGES 6
#define FIELD_WEIGHT    3
#define EXAMPLE         40 /* the train picture that is copied, cut and renamed */
#define N_OF(a)         ((int)(sizeof(a) / sizeof *(a)))

static const uint32_t CLASSES[] = {
    0x1F436, 0x1F431, 0x1F98A, 0x1F43C, 0x1F437,
    0x1F438, 0x1F414, 0x1F427, 0x1F989, 0x1F98B, /* dog .. butterfly */
    0x1F419, 0x1F980, 0x1F422, 0x1F418, 0x1F34E,
    0x1F34C, 0x1F347, 0x1F349, 0x1F353, 0x1F34D, /* octopus .. pineapple */
    0x1F955, 0x1F344, 0x1F355, 0x1F354, 0x1F369,
    0x1F697, 0x1F68C, 0x1F680, 0x26F5,  0x1F681, /* carrot .. helicopter */
    0x1F3B8, 0x23F0,  0x1F388, 0x1F451, 0x1F3A9,
    0x1F33B, 0x1F335, 0x1F3C0, 0x1F4F7, 0x1F381, /* guitar .. gift */
};
#define N_CLASSES N_OF(CLASSES)

#define N_TEMPLATES 3
static const struct language {
    const char *tag, *templates[N_TEMPLATES];
} LANGUAGES[] = {
    {"en", {"{}", "a picture of {}", "a photo showing {}"}},
    {"zh", {"{}", "一张{}的图片", "照片中有{}"}},
    {"de", {"{}", "ein Bild: {}", "auf dem Foto: {}"}},
    {"fr", {"{}", "une image : {}", "sur la photo : {}"}},
    {"es", {"{}", "una imagen: {}", "en la foto: {}"}},
    {"ru", {"{}", "картинка: {}", "на фото: {}"}},
    {"ar", {"{}", "صورة: {}", "في الصورة: {}"}},
    {"hi", {"{}", "चित्र: {}", "फ़ोटो में: {}"}},
    {"ja", {"{}", "{}の絵", "{}の写真"}},
    {"ko", {"{}", "{} 그림", "{} 사진"}},
};
#define N_LANGUAGES N_OF(LANGUAGES)

enum split { TRAIN, VAL, TEST, N_SPLITS };
static const char *const SPLITS[] = {"train", "val", "test"};

/* How many pictures: singles a class, pairs and triples in all. */
static const int SINGLES[] = {12, 2, 3}, PAIRS[] = {620, 60, 100}, TRIPLES[] = {560, 50, 90};
#define MAX_PICTURES 4000

struct picture {
    enum split split;
    int n, object[SCENE_OBJECTS];
    bool field;
};

noreturn void die(const char *format, ...)
{
    va_list a;
    va_start(a, format);
    fputs("make_corpus: ", stderr);
    vfprintf(stderr, format, a);
    fputc('\n', stderr);
    va_end(a);
    exit(1);
}

void *must_alloc(size_t n_bytes)
{
    void *p = calloc(n_bytes ? n_bytes : 1, 1);
    if (!p) die("out of memory");
    return p;
}

uint64_t rng_next(struct rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

int rng_int(struct rng *r, int low, int high)
{
    return low + (int)(rng_next(r) % (uint64_t)(high - low + 1));
}

double rng_unit(struct rng *r)
{
    return (double)(rng_next(r) >> 11) / 9007199254740992.0;
}

static void shuffle_ints(struct rng *r, int *a, int n)
{
    for (int i = n - 1; i > 0; i--) {
        int j = rng_int(r, 0, i), t = a[i];
        a[i] = a[j];
        a[j] = t;
    }
}

/* All combinations of k classes in random order; the first go to train, the next to val, to test. */
static int plan_combinations(struct rng *r, int k, const int *wanted, struct picture *out)
{
    int n_codes = 1, n = 0, done = 0;
    for (int i = 0; i < k; i++) n_codes *= N_CLASSES;
    int *codes = must_alloc((size_t)n_codes * sizeof *codes);
    for (int code = 0; code < n_codes;
         code++) { /* digits in base N_CLASSES, strictly rising: each set once */
        int a = code / N_CLASSES / N_CLASSES, b = code / N_CLASSES % N_CLASSES,
            c = code % N_CLASSES;
        if (b < c && (k == 2 || a < b)) codes[n++] = code;
    }
    shuffle_ints(r, codes, n);
    if (wanted[TRAIN] + wanted[VAL] + wanted[TEST] > n)
        die("there are only %d sets of %d classes", n, k);
    for (int split = 0; split < N_SPLITS; split++)
        for (int i = 0; i < wanted[split]; i++, done++) {
            struct picture *p = &out[done];
            *p = (struct picture){.split = (enum split)split, .n = k};
            for (int d = 0, code = codes[done]; d < k; d++, code /= N_CLASSES)
                p->object[d] = code % N_CLASSES;
        }
    free(codes);
    return done;
}

static int plan(struct picture *pictures)
{
    struct rng r = {SEED};
    struct picture *made = must_alloc(MAX_PICTURES * sizeof *made);
    int n = 0, order[MAX_PICTURES];
    for (int split = 0; split < N_SPLITS; split++)
        for (int i = 0; i < SINGLES[split] * N_CLASSES; i++)
            made[n++] = (struct picture){
                .split = (enum split)split, .n = 1, .object = {i % N_CLASSES}};
    n += plan_combinations(&r, 2, PAIRS, made + n);
    n += plan_combinations(&r, 3, TRIPLES, made + n);
    for (int i = 0; i < n; i++) made[i].field = (i * 7 + i / N_CLASSES) % FIELD_EVERY == 0;
    for (int i = 0; i < n; i++) order[i] = i;
    shuffle_ints(&r, order, n);
    for (int i = 0; i < n; i++) pictures[i] = made[order[i]];
    free(made);
    return n;
}

/* The first train pictures show what readers must cope with, once each; the others are mostly plain JPEG. */
static struct imagefile_options file_options(struct rng *r, int nth_train)
{
    static const enum imagefile_kind special[] = {
        FILE_JPEG_CMYK,   FILE_JPEG_YCCK, FILE_JPEG_GREY,     FILE_PNG_PALETTE,
        FILE_PNG_ALPHA,   FILE_PNG_16,    FILE_WEBP_LOSSLESS, FILE_WEBP_ALPHA,
        FILE_PNG_PALETTE, FILE_JPEG_YCCK, FILE_JPEG_CMYK};
    struct imagefile_options o = {FILE_JPEG, 85, 1};
    int die_100 = rng_int(r, 0, 99), quality = rng_int(r, 0, 9);
    if (nth_train < N_OF(special))
        o.kind = special[nth_train];
    else if (nth_train < N_OF(special) + 7)
        o.orientation = 2 + nth_train - N_OF(special);
    else {
        o.kind = die_100 < 86   ? FILE_JPEG
                 : die_100 < 90 ? FILE_JPEG_PROGRESSIVE
                 : die_100 < 92 ? FILE_PNG
                                : FILE_WEBP;
        o.quality = quality == 0 ? 70 : quality == 1 ? 92 : 85;
    }
    return o;
}

/* Draws and writes a picture; its random numbers depend on its place in the plan alone. */
static void picture_write(const char *folder, const struct picture *p, int number, int nth_train,
                          const struct glyph *glyphs, char *name, size_t name_size)
{
    struct rng r = {SEED * UINT64_C(1000003) + (uint64_t)number};
    struct scene s = {.n_objects = p->n, .field = p->field};
    memcpy(s.object, p->object, sizeof s.object);
    int side = rng_int(&r, 112, 152), longer = side + side * rng_int(&r, 0, 24) / 100;
    bool wide = rng_int(&r, 0, 1) != 0;
    s.width = wide ? longer : side;
    s.height = wide ? side : longer;
    s.seed = rng_next(&r);
    struct imagefile_options o = file_options(&r, nth_train);
    snprintf(name, name_size, "images/%s%04d.%s", p->field ? "field" : "p", number,
             imagefile_extension(o.kind));
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    uint8_t *rgb = must_alloc((size_t)s.width * (size_t)s.height * 3);
    scene_draw(&s, glyphs, rgb);
    imagefile_write(path, &o, rgb, s.width, s.height);
    free(rgb);
}

static void fill(const char *template, const char *names, char *out, size_t size)
{
    const char *hole = strstr(template, "{}");
    snprintf(out, size, "%.*s%s%s", (int)(hole - template), template, names, hole + 2);
}

/* One caption: the names in a random order, joined, half of them inside a template. */
static void caption(struct rng *r, const struct picture *p, const struct language *l, char *out,
                    size_t size)
{
    char names[SCENE_OBJECTS][CLDR_NAME_BYTES], list[600];
    const char *items[SCENE_OBJECTS];
    int order[SCENE_OBJECTS] = {0, 1, 2};
    shuffle_ints(r, order, p->n);
    for (int i = 0; i < p->n; i++) {
        cldr_name(l->tag, CLASSES[p->object[order[i]]], names[i]);
        items[i] = names[i];
    }
    cldr_list(l->tag, items, p->n, list, sizeof list);
    int t = rng_int(r, 0, 3);
    fill(l->templates[t < N_TEMPLATES ? t : 0], list, out, size);
}

static void rows_write(FILE *f, const struct picture *p, int number, const char *image)
{
    struct rng r = {SEED * UINT64_C(7919) + (uint64_t)number};
    int order[N_LANGUAGES];
    bool chosen[N_LANGUAGES] = {false};
    for (int i = 0; i < N_LANGUAGES; i++) order[i] = i;
    shuffle_ints(&r, order, N_LANGUAGES);
    for (int i = 0; i < (p->split == TRAIN ? TRAIN_LANGUAGES : N_LANGUAGES); i++)
        chosen[order[i]] = true;
    for (int i = 0; i < N_LANGUAGES; i++) {
        char text[700], label[CLDR_NAME_BYTES] = "";
        if (p->n == 1) cldr_name("en", CLASSES[p->object[0]], label);
        caption(&r, p, &LANGUAGES[i], text, sizeof text);
        if (chosen[i])
            fprintf(f, "%s\t%s\t%s\t%s\t%s\t%d\n", image, LANGUAGES[i].tag, text, label,
                    SPLITS[p->split], p->field ? FIELD_WEIGHT : 1);
    }
}

/* Lets a baseline JPEG's frame header claim a square picture of another side. */
static void claim_size(char *jpeg, size_t n, int side_px)
{
    for (size_t i = 0; i + 9 < n; i++)
        if (jpeg[i] == (char)0xff && jpeg[i + 1] == (char)0xc0) {
            jpeg[i + 5] = jpeg[i + 7] = (char)(side_px >> 8);
            jpeg[i + 6] = jpeg[i + 8] = (char)side_px;
            return;
        }
    die("no frame header in the example picture");
}

/* Files and rows that a reader must turn away, one reason each, and two it must take: a copy of a picture under another name,
 * and a JPEG whose name says PNG. `image` is a good picture's name, `text` its
 * caption. */
static void broken_write(const char *folder, FILE *f, const char *image, const char *text)
{
    static const char gif[] = "GIF89a\1\0\1\0\200\0\0\377\0\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;";
    static const char html[] = "<!DOCTYPE html>\n<html><head><title>404 Not "
                               "Found</title></head><body>Not Found</body></html>\n";
    char path[512];
    size_t n;
    snprintf(path, sizeof path, "%s/%s", folder, image);
    char *good = file_read(path, &n), *huge = file_read(path, &n);
    claim_size(huge, n, 65500);
    const struct {
        const char *name;
        const void *bytes;
        size_t n;
    } files[] = {{"truncated.jpg", good, n * 6 / 10},
                 {"animation.jpg", gif, sizeof gif - 1},
                 {"page.png", html, sizeof html - 1},
                 {"huge.jpg", huge, n},
                 {"empty.jpg", "", 0},
                 {"copy.jpg", good, n},
                 {"misnamed.png", good, n}};
    for (int i = 0; i < N_OF(files); i++) {
        snprintf(path, sizeof path, "%s/broken/%s", folder, files[i].name);
        file_write(path, files[i].bytes, files[i].n);
        fprintf(f, "broken/%s\ten\t%s\t\ttrain\t1\n", files[i].name, text);
    }
    fprintf(f, "broken/missing.jpg\ten\t%s\t\ttrain\t1\n", text);
    fprintf(f, "%s\tzh\t\xe7\x8b\x97\xe8\x84\t\ttrain\t1\n", image); /* the last character is cut */
    fprintf(f, "%s\ten\t \t\ttrain\t1\n", image);
    fprintf(f, "%s\ten\n", image);
    free(huge);
    free(good);
}

static void classes_write(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) die("cannot write %s", path);
    fputs("{\n \"classes\": {\n", f);
    for (int c = 0; c < N_CLASSES; c++) {
        char name[CLDR_NAME_BYTES];
        cldr_name("en", CLASSES[c], name);
        fprintf(f, "  \"%s\": {", name);
        for (int i = 0; i < N_LANGUAGES; i++) {
            cldr_name(LANGUAGES[i].tag, CLASSES[c], name);
            fprintf(f, "%s\"%s\": \"%s\"", i ? ", " : "", LANGUAGES[i].tag, name);
        }
        fprintf(f, "}%s\n", c + 1 < N_CLASSES ? "," : "");
    }
    fputs(" },\n \"templates\": {\n", f);
    for (int i = 0; i < N_LANGUAGES; i++) {
        fprintf(f, "  \"%s\": [", LANGUAGES[i].tag);
        for (int t = 0; t < N_TEMPLATES; t++)
            fprintf(f, "%s\"%s\"", t ? ", " : "", LANGUAGES[i].templates[t]);
        fprintf(f, "]%s\n", i + 1 < N_LANGUAGES ? "," : "");
    }
    fputs(" }\n}\n", f);
    if (fclose(f) != 0) die("cannot write %s", path);
}

static FILE *manifest_open(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f) die("cannot write %s", path);
    fputs("image\tlang\tcaption\tlabel\tsplit\tweight\n", f);
    return f;
}

static void folder_make(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        die("cannot make the folder %s: %s", path, strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc != 2) die("usage: make_corpus FOLDER");
    const char *folder = argv[1];
    static struct picture pictures[MAX_PICTURES];
    static struct glyph glyphs[N_CLASSES];
    char name[64], path[512], example[64] = "", text[700];
    folder_make(folder, "");
    folder_make(folder, "images");
    folder_make(folder, "broken");
    glyphs_load(glyphs, FONT, CLASSES, N_CLASSES);
    FILE *public = manifest_open(folder, "public.tsv"), *field = manifest_open(folder, "field.tsv");
    int n = plan(pictures), n_train = 0;
    for (int i = 0; i < n; i++) {
        bool common = pictures[i].split == TRAIN && !pictures[i].field;
        picture_write(folder, &pictures[i], i, common ? n_train++ : MAX_PICTURES, glyphs, name,
                      sizeof name);
        rows_write(pictures[i].field ? field : public, &pictures[i], i, name);
        if (common && n_train == EXAMPLE) {
            struct rng r = {SEED};
            snprintf(example, sizeof example, "%s", name);
            caption(&r, &pictures[i], &LANGUAGES[0], text, sizeof text);
        }
        if (i == n / 2) broken_write(folder, public, example, text);
    }
    snprintf(path, sizeof path, "%s/classes.json", folder);
    classes_write(path);
    if (fclose(public) != 0 || fclose(field) != 0) die("cannot write the manifests in %s", folder);
    for (int i = 0; i < N_CLASSES; i++) free(glyphs[i].bgra);
    return 0;
}
