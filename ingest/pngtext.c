/* Texts, profiles and EXIF of a PNG; see pngtext.h. What is inflated goes into one scratch buffer, and is copied
 * from there only when it is one of the three texts that can turn the picture. */
#include "ingest/pngtext.h"

#include <string.h>

#include "ingest/exif.h"
#include "ingest/zstream.h"
#include "store/memory.h"

#define MAX_TEXT       ((size_t)1 << 20)   /* one text or profile, inflated */
#define MAX_TEXTS      ((uint64_t)1 << 26) /* all texts of a file */
#define MAX_SPENT      ((uint64_t)1 << 28) /* all that is inflated here: ours, not Pillow's */
#define IS(s, literal) ((s).n == sizeof(literal) - 1 && !memcmp((s).at, literal, (s).n))

struct span {
    const uint8_t *at;
    size_t n;
};

static int refuse(struct pngtext *t, const char *why)
{
    t->why = why;
    return ERR_DATA;
}

void pngtext_release(struct pngtext *t)
{
    zstream_free(t->z);
    memory_free(t->scratch);
    memory_free(t->exif.owned);
    memory_free(t->raw_exif.owned);
    memory_free(t->xmp.owned);
}

/* Takes what stands before the first NUL off s. False when there is none. */
static bool split(struct span *s, struct span *first)
{
    const uint8_t *nul = s->n ? memchr(s->at, 0, s->n) : NULL;
    if (!nul) return false;
    *first = (struct span){s->at, (size_t)(nul - s->at)};
    s->n -= first->n + 1;
    s->at = nul + 1;
    return true;
}

/* The characters of strict UTF-8, or -1. */
static int64_t count_utf8(struct span s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; n++) {
        uint8_t b = s.at[i];
        int more = b < 0x80 ? 0 : b < 0xc2 ? -1 : b < 0xe0 ? 1 : b < 0xf0 ? 2 : b < 0xf5 ? 3 : -1;
        if (more < 0 || s.n - i - 1 < (size_t)more) return -1;
        for (int k = 1; k <= more; k++)
            if ((s.at[i + (size_t)k] & 0xc0) != 0x80) return -1;
        uint8_t next = more ? s.at[i + 1] : 0;
        if ((b == 0xe0 && next < 0xa0) || (b == 0xed && next >= 0xa0) ||
            (b == 0xf0 && next < 0x90) || (b == 0xf4 && next >= 0x90))
            return -1; /* overlong, a surrogate, beyond U+10FFFF */
        i += 1 + (size_t)more;
    }
    return n;
}

/* Inflates into t->scratch. ZSTREAM_BROKEN data is no error, too much of it is. */
static int inflate_text(struct pngtext *t, struct span in, struct span *out,
                        enum zstream_state *state, struct error *err)
{
    if (!t->z && !(t->z = zstream_new(err))) return ERR_NOMEM;
    if (!t->scratch && !(t->scratch = memory_array(MAX_TEXT, 1, MEMORY_MAX_SMALL, err)))
        return ERR_NOMEM;
    out->at = t->scratch;
    bool fits = zstream_whole(t->z, in.at, in.n, MAX_TEXT, t->scratch, &out->n, state);
    if (*state == ZSTREAM_NOMEM) return error_set(err, ERR_NOMEM, "out of memory while inflating");
    t->n_spent += out->n;
    if (!fits) return refuse(t, "a text or profile is larger than 1 MiB");
    if (t->n_spent > MAX_SPENT) return refuse(t, "its texts and profiles are larger than 256 MiB");
    return 0;
}

/* Keeps a value; what stands in the scratch is copied. */
static int keep_text(struct pngtext *t, struct pngtext_value *v, struct span value,
                     struct error *err)
{
    uint8_t *owned = NULL;
    if (value.at == t->scratch) {
        if (!(owned = (uint8_t *)memory_copy(value.at, value.n, err))) return ERR_NOMEM;
        value.at = owned;
    }
    memory_free(v->owned);
    *v = (struct pngtext_value){value.at, value.n, owned};
    return 0;
}

static enum pngtext_pose pose_of(struct span key, struct span value)
{
    if (IS(key, "interlace")) return value.n ? PNGTEXT_INTERLACE : PNGTEXT_NO_INTERLACE;
    if (IS(key, "transparency")) return PNGTEXT_TRANSPARENCY;
    return IS(key, "bbox") ? PNGTEXT_BOX : PNGTEXT_PLAIN;
}

static int add_text(struct pngtext *t, struct span key, struct span value, bool is_latin,
                    int64_t n_characters, enum pngtext_pose *pose, struct error *err)
{
    struct pngtext_value *v = NULL;
    if (IS(key, "exif")) {
        v = &t->exif;
        t->exif_kind = is_latin ? PNGTEXT_EXIF : PNGTEXT_EXIF_IS_TEXT;
    }
    if (IS(key, "Raw profile type exif")) v = &t->raw_exif;
    if (IS(key, "XML:com.adobe.xmp")) v = &t->xmp;
    if (v && keep_text(t, v, value, err) < 0) return ERR_NOMEM;
    *pose = pose_of(key, value);
    t->n_texts += (uint64_t)n_characters;
    return t->n_texts > MAX_TEXTS ? refuse(t, "its texts are larger than 64 MiB") : 0;
}

static int read_tEXt(struct pngtext *t, struct span s, enum pngtext_pose *pose, struct error *err)
{
    struct span key = s, value = s;
    if (!split(&value, &key)) value = (struct span){s.at + s.n, 0};
    if (!key.n) return 0;
    return add_text(t, key, value, true, (int64_t)value.n, pose, err);
}

static int read_zTXt(struct pngtext *t, struct span s, enum pngtext_pose *pose, struct error *err)
{
    struct span key = s, value = s;
    if (!split(&value, &key)) value = (struct span){s.at + s.n, 0};
    if (value.n && value.at[0] != 0) return refuse(t, "a text is compressed in an unknown way");
    if (value.n) value = (struct span){value.at + 1, value.n - 1};
    enum zstream_state state;
    int rc = inflate_text(t, value, &value, &state, err);
    if (rc < 0 || !key.n) return rc;
    if (state == ZSTREAM_BROKEN) value.n = 0;
    return add_text(t, key, value, false, (int64_t)value.n, pose, err);
}

static int read_iTXt(struct pngtext *t, struct span s, enum pngtext_pose *pose, struct error *err)
{
    struct span key, language, translated, value = s;
    if (!split(&value, &key) || value.n < 2) return 0;
    bool compressed = value.at[0] != 0;
    if (compressed && value.at[1] != 0) return 0;
    value = (struct span){value.at + 2, value.n - 2};
    if (!split(&value, &language) || !split(&value, &translated)) return 0;
    if (compressed) {
        enum zstream_state state;
        int rc = inflate_text(t, value, &value, &state, err);
        if (rc < 0 || state == ZSTREAM_BROKEN) return rc;
    }
    int64_t n_characters = count_utf8(value);
    if (n_characters < 0 || count_utf8(language) < 0 || count_utf8(translated) < 0) return 0;
    return add_text(t, key, value, false, n_characters, pose, err);
}

int pngtext_read(struct pngtext *t, enum pngtext_kind kind, const uint8_t *body, size_t n,
                 enum pngtext_pose *pose, struct error *err)
{
    struct span s = {body, n};
    *pose = PNGTEXT_PLAIN;
    switch (kind) {
    case PNGTEXT_LATIN: return read_tEXt(t, s, pose, err);
    case PNGTEXT_DEFLATED: return read_zTXt(t, s, pose, err);
    default: return read_iTXt(t, s, pose, err);
    }
}

int pngtext_read_profile(struct pngtext *t, const uint8_t *body, size_t n, struct error *err)
{
    struct span name, profile = {body, n};
    if (!split(&profile, &name)) return refuse(t, "its profile has no name");
    if (profile.n) profile = (struct span){profile.at + 1, profile.n - 1};
    enum zstream_state state;
    return inflate_text(t, profile, &profile, &state, err);
}

int pngtext_read_exif(struct pngtext *t, const uint8_t *body, size_t n, struct error *err)
{
    t->exif_kind = PNGTEXT_EXIF_BARE;
    return keep_text(t, &t->exif, (struct span){body, n}, err);
}

static int digit(uint8_t b)
{
    if (b >= '0' && b <= '9') return b - '0';
    b |= 0x20;
    return b >= 'a' && b <= 'f' ? b - 'a' + 10 : -1;
}

static bool is_space(uint8_t b)
{
    return b == ' ' || (b >= '\t' && b <= '\r');
}

/* ImageMagick's EXIF: three lines of head, then hexadecimal digits. *block: owned. */
static int read_raw_exif(struct pngtext *t, uint8_t **block, size_t *n_block, struct error *err)
{
    const uint8_t *p = t->raw_exif.at, *end = p + t->raw_exif.n;
    for (int line = 0; line < 3 && p < end; p++) line += *p == '\n';
    if (!(*block = memory_array(t->raw_exif.n / 2 + 1, 1, MEMORY_MAX_FILE, err))) return ERR_NOMEM;
    int high = -1;
    for (*n_block = 0; p < end; p++) {
        if (*p == '\n' || (high < 0 && is_space(*p))) continue; /* lines are joined first */
        int d = digit(*p);
        if (d < 0) return refuse(t, "its EXIF text is not hexadecimal");
        if (high >= 0) (*block)[(*n_block)++] = (uint8_t)(high << 4 | d);
        high = high < 0 ? d : -1;
    }
    return high < 0 ? 0 : refuse(t, "its EXIF text has an odd number of digits");
}

int pngtext_orientation(struct pngtext *t, struct error *err)
{
    struct exif e = {.orientation = 1};
    if (t->exif_kind == PNGTEXT_EXIF_IS_TEXT && t->exif.n)
        return refuse(t, "a text poses as its EXIF block");
    enum exif_verdict verdict = EXIF_GOOD;
    if (t->exif_kind != PNGTEXT_NO_EXIF) {
        bool twice_named = t->exif.n >= 4 && !memcmp(t->exif.at, "Exif", 4);
        verdict = t->exif_kind == PNGTEXT_EXIF_BARE && twice_named
                      ? EXIF_NOT_TIFF
                      : exif_read(t->exif.at, t->exif.n, &e);
    } else if (t->raw_exif.at) {
        uint8_t *block = NULL;
        size_t n = 0;
        int rc = read_raw_exif(t, &block, &n, err);
        if (rc == 0) verdict = exif_read(block, n, &e);
        memory_free(block);
        if (rc < 0) return rc;
    }
    if (verdict != EXIF_GOOD) return refuse(t, "its EXIF block cannot be read");
    uint8_t by_xmp = e.has_orientation || !t->xmp.at ? 0
                                                     : exif_xmp_orientation(t->xmp.at, t->xmp.n);
    return by_xmp >= 1 && by_xmp <= 8 ? by_xmp : e.orientation;
}
