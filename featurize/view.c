/* Random resized crops as a pure function; see view.h.
 *
 * Everything is integer arithmetic in 64 bits (pictures have at most 2^32 pixels), so that every
 * machine and every later version replays the same boxes. The random stream is SHA-256 in counter
 * mode: four u64 a digest.
 */
#include "featurize/view.h"

#include <string.h>

#define ATTEMPTS 10 /* boxes drawn before the largest centred box of a fitting shape is taken */

struct stream {
    uint8_t message[16 + DIGEST_BYTES + 4 + 4]; /* prefix | key | view | counter */
    uint8_t bits[DIGEST_BYTES];
    uint32_t counter;
    int n_left; /* u64 left in bits */
};

static void put_u32(uint8_t *to, uint32_t x)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(x >> (8 * i));
}

static void stream_init(struct stream *s, const char prefix[16], const uint8_t key[DIGEST_BYTES],
                        uint32_t view)
{
    memset(s, 0, sizeof *s);
    memcpy(s->message, prefix, 16);
    memcpy(s->message + 16, key, DIGEST_BYTES);
    put_u32(s->message + 16 + DIGEST_BYTES, view);
}

static uint64_t stream_next(struct stream *s)
{
    if (s->n_left == 0) {
        put_u32(s->message + 16 + DIGEST_BYTES + 4, s->counter++);
        digest_of(s->message, sizeof s->message, s->bits);
        s->n_left = 4;
    }
    const uint8_t *at = s->bits + 8 * (4 - s->n_left--);
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) x |= (uint64_t)at[i] << (8 * i);
    return x;
}

/* Uniform in low..high (both included; high - low < 2^32). */
static uint32_t stream_between(struct stream *s, uint32_t low, uint32_t high)
{
    uint64_t span = (uint64_t)high - low + 1;
    return low + (uint32_t)(((stream_next(s) >> 32) * span) >> 32);
}

static uint32_t root(uint64_t x)
{
    uint64_t r = 0;
    for (uint64_t bit = (uint64_t)1 << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= x) r += bit;
    return (uint32_t)r;
}

struct view_plan view_plan_default(void)
{
    return (struct view_plan){400, 1000, 750, 1333, true, {0}};
}

int view_plan_check(const struct view_plan *p, struct error *err)
{
    if (p->min_area_permille < 1 || p->min_area_permille > p->max_area_permille ||
        p->max_area_permille > 1000)
        return error_set(err, ERR_USAGE,
                         "view area %u..%u permille: expected 1 <= min <= max <= 1000",
                         p->min_area_permille, p->max_area_permille);
    if (p->min_aspect_permille < 100 || p->min_aspect_permille > p->max_aspect_permille ||
        p->max_aspect_permille > 10000)
        return error_set(err, ERR_USAGE,
                         "view aspect %u..%u permille: expected 100 <= min <= max <= 10000",
                         p->min_aspect_permille, p->max_aspect_permille);
    return jitter_check(&p->jitter, err);
}

/* Width / height as a fraction over 1000 or under it. */
struct aspect {
    uint64_t wide, tall;
};

static struct aspect draw_aspect(struct stream *s, const struct view_plan *plan)
{
    uint32_t min = plan->min_aspect_permille, max = plan->max_aspect_permille;
    if (stream_next(s) & 1) return (struct aspect){stream_between(s, min, max), 1000};
    return (struct aspect){1000, stream_between(s, 1000000 / max, 1000000 / min)};
}

/* The largest box of the shape nearest to the picture's own, centred. */
static void centred(const struct view_plan *plan, uint32_t w, uint32_t h, struct view_box *box)
{
    uint64_t min = plan->min_aspect_permille, max = plan->max_aspect_permille;
    uint64_t bw = w, bh = h;
    if ((uint64_t)w * 1000 < min * h)
        bh = (uint64_t)w * 1000 / min;
    else if ((uint64_t)w * 1000 > max * h)
        bw = (uint64_t)h * max / 1000;
    box->width = (uint32_t)(bw ? bw : 1);
    box->height = (uint32_t)(bh ? bh : 1);
    box->left = (w - box->width) / 2;
    box->top = (h - box->height) / 2;
}

static struct jitter tint(const struct view_plan *plan, const uint8_t key[DIGEST_BYTES],
                          uint32_t view)
{
    uint64_t bits[JITTER_BITS];
    struct stream s;
    stream_init(&s, "clipstill-tint-1", key, view);
    for (int i = 0; i < JITTER_BITS; i++) bits[i] = stream_next(&s);
    return jitter_draw(&plan->jitter, bits);
}

struct view_box view_of(const struct view_plan *plan, const uint8_t key[DIGEST_BYTES],
                        uint32_t view, uint32_t w, uint32_t h)
{
    struct view_box box = {.whole = view == 0, .width = w, .height = h};
    if (view == 0) return box;
    box.jitter = tint(plan, key, view);
    struct stream s;
    stream_init(&s, "clipstill-view-1", key, view);
    box.flip = plan->flip && (stream_next(&s) & 1);
    for (int i = 0; i < ATTEMPTS; i++) {
        uint64_t permille = stream_between(&s, plan->min_area_permille, plan->max_area_permille);
        uint64_t area = (uint64_t)w * h * permille / 1000;
        struct aspect a = draw_aspect(&s, plan);
        uint32_t bw = root(area * a.wide / a.tall), bh = root(area * a.tall / a.wide);
        if (bw < 1 || bh < 1 || bw > w || bh > h) continue;
        box.width = bw;
        box.height = bh;
        box.left = stream_between(&s, 0, w - bw);
        box.top = stream_between(&s, 0, h - bh);
        return box;
    }
    centred(plan, w, h, &box);
    return box;
}

struct json *view_plan_json(const struct view_plan *plan)
{
    struct json *j = json_new_object();
    json_set_int(j, "min_area_permille", plan->min_area_permille);
    json_set_int(j, "max_area_permille", plan->max_area_permille);
    json_set_int(j, "min_aspect_permille", plan->min_aspect_permille);
    json_set_int(j, "max_aspect_permille", plan->max_aspect_permille);
    json_set_bool(j, "flip", plan->flip);
    char text[JITTER_TEXT];
    if (!jitter_is_none(&plan->jitter))
        json_set_string(j, "jitter", jitter_spell(&plan->jitter, text));
    return j;
}

int view_plan_read(const struct json *j, const char *name, struct view_plan *plan,
                   struct error *err)
{
    struct view_plan d = view_plan_default();
    plan->min_area_permille = json_int(json_get(j, "min_area_permille"), d.min_area_permille);
    plan->max_area_permille = json_int(json_get(j, "max_area_permille"), d.max_area_permille);
    plan->min_aspect_permille = json_int(json_get(j, "min_aspect_permille"), d.min_aspect_permille);
    plan->max_aspect_permille = json_int(json_get(j, "max_aspect_permille"), d.max_aspect_permille);
    plan->flip = json_bool(json_get(j, "flip"), d.flip);
    plan->jitter = d.jitter;
    const struct json *jitter = json_get(j, "jitter");
    struct error why = {0};
    if (!jitter || jitter_parse(json_text(jitter, ""), &plan->jitter, &why) == 0) return 0;
    return error_set(err, ERR_DATA, "%s: a view plan that this version does not read: %s", name,
                     why.text);
}
