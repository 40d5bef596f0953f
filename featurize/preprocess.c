/* preprocessor_config.json and what it does to a picture; see preprocess.h.
 *
 * Resize and centre crop are one call: only the window that the crop keeps is ever resampled, so that a
 * picture of 1 x 60000 pixels costs no more than another.
 */
#include "featurize/preprocess.h"

#include <string.h>

#define CLIP_SIDE 224

static const float clip_mean[3] = {0.48145466f, 0.4578275f, 0.40821073f};
static const float clip_std[3] = {0.26862954f, 0.26130258f, 0.27577711f};

static int read_resample(const struct json *j, const char *name, enum resample *how,
                         struct error *err)
{
    static const char *const words[] = {"nearest", "lanczos", "bilinear", "bicubic", "box"};
    const char *word = json_text(j, NULL);
    if (word) {
        for (int i = 0; i <= RESAMPLE_BOX; i++)
            if (!strcmp(word, words[i])) return *how = i, 0;
        return error_set(
            err, ERR_DATA,
            "%s: resample \"%.40s\" is none of nearest, lanczos, bilinear, bicubic, box", name,
            word);
    }
    int64_t number = json_int(j, RESAMPLE_BICUBIC);
    if (number < 0 || number > RESAMPLE_BOX)
        return error_set(err, ERR_DATA, "%s: resample %lld is no filter of PIL: 0 to 4 expected",
                         name, (long long)number);
    *how = (enum resample)number;
    return 0;
}

static int read_triple(const struct json *j, const char *name, const char *key, float out[3],
                       struct error *err)
{
    if (json_is_null(j)) return 0;
    for (int i = 0; json_is_number(j) && i < 3; i++) out[i] = (float)json_number(j, 0);
    if (json_is_number(j)) return 0;
    if (json_size(j) != 3 || !json_is_array(j))
        return error_set(err, ERR_DATA, "%s: %s must have three numbers", name, key);
    for (size_t i = 0; i < 3; i++) {
        if (!json_is_number(json_at(j, i)))
            return error_set(err, ERR_DATA, "%s: %s must have three numbers", name, key);
        out[i] = (float)json_number(json_at(j, i), 0);
    }
    return 0;
}

/* A square side: 224, {"height": 224, "width": 224} or [224, 224]. 0 when it is none. */
static int64_t square_of(const struct json *j)
{
    if (json_is_number(j)) return json_int(j, 0);
    if (json_is_array(j) && json_size(j) == 2) {
        int64_t a = json_int(json_at(j, 0), 0);
        return a == json_int(json_at(j, 1), 0) ? a : 0;
    }
    int64_t height = json_int(json_get(j, "height"), 0);
    return height == json_int(json_get(j, "width"), 0) ? height : 0;
}

/* The processor that a file names; "" where it names none. */
static const char *kind_of(const struct json *j)
{
    return json_text(json_get(j, "image_processor_type"),
                     json_text(json_get(j, "feature_extractor_type"), ""));
}

/* Of the processors whose absent keys are known: CLIP's and Chinese-CLIP's, which are the same but
 * that integer sizes are the short edge to the one and a square to the other; MobileViT's. */
static bool is_kind(const struct json *j, const char *kind)
{
    return strncmp(kind_of(j), kind, strlen(kind)) == 0;
}

static int check_kind(const struct json *j, const char *name, struct error *err)
{
    static const char *const keys[] = {"resample", "image_mean", "image_std"};
    if (!*kind_of(j) || is_kind(j, "CLIP") || is_kind(j, "ChineseCLIP") || is_kind(j, "MobileViT"))
        return 0;
    bool normalises = json_bool(json_get(j, "do_normalize"), true);
    for (int i = 0; i < (normalises ? 3 : 1); i++)
        if (json_is_null(json_get(j, keys[i])))
            return error_set(err, ERR_DATA,
                             "%s: %s is absent, and what %.40s takes then is not known here: write "
                             "it into the file",
                             name, keys[i], kind_of(j));
    return 0;
}

static int to_side(int64_t side)
{
    return side < 1 || side > PREPROCESS_MAX_SIDE ? 0 : (int)side;
}

/* Resize and crop; what is missing is, for CLIP's processors, a short edge and a crop of 224. */
static void read_sizes(const struct json *j, struct preprocess *p)
{
    const struct json *size = json_get(j, "size"), *edge = json_get(size, "shortest_edge");
    const struct json *crop = json_get(j, "crop_size");
    bool is_clip = is_kind(j, "CLIP") || is_kind(j, "ChineseCLIP");
    bool is_short = json_is_number(edge), is_number = json_is_number(size);
    if (json_is_null(size) && is_clip) {
        p->shortest_edge = true;
        p->size = CLIP_SIDE;
    } else {
        p->shortest_edge = is_short || (is_number && (!*kind_of(j) || is_kind(j, "CLIP") ||
                                                      is_kind(j, "MobileViT")));
        p->size = to_side(is_short ? json_int(edge, 0) : square_of(size));
    }
    p->do_crop = json_bool(json_get(j, "do_center_crop"), p->shortest_edge || is_clip);
    if (!p->do_crop) return;
    p->crop_size = is_clip && p->size > CLIP_SIDE ? CLIP_SIDE : p->size;
    if (!json_is_null(crop)) p->crop_size = to_side(square_of(crop));
}

static int read_hugging_face(const struct json *j, const char *name, struct preprocess *p,
                             struct error *err)
{
    if (!json_bool(json_get(j, "do_resize"), true))
        return error_set(err, ERR_DATA,
                         "%s: do_resize is false: pictures of any size have no square input", name);
    int rc = check_kind(j, name, err);
    if (rc < 0) return rc;
    read_sizes(j, p);
    p->rescale = json_bool(json_get(j, "do_rescale"), true)
                     ? json_number(json_get(j, "rescale_factor"), 1 / 255.0)
                     : 1;
    p->bgr = json_bool(json_get(j, "do_flip_channel_order"), false);
    p->apply_orientation = json_bool(json_get(j, "apply_orientation"), true);
    if (!json_bool(json_get(j, "do_normalize"), true)) {
        for (int c = 0; c < 3; c++) p->mean[c] = 0, p->std[c] = 1;
        return 0;
    }
    rc = read_triple(json_get(j, "image_mean"), name, "image_mean", p->mean, err);
    return rc < 0 ? rc : read_triple(json_get(j, "image_std"), name, "image_std", p->std, err);
}

static int read_identity(const struct json *j, const char *name, struct preprocess *p,
                         struct error *err)
{
    const char *resize = json_text(json_get(j, "resize"), ""),
               *crop = json_text(json_get(j, "crop"), "none");
    const char *exif = json_text(json_get(j, "exif"), "applied");
    if (strcmp(resize, "shortest_edge") && strcmp(resize, "exact"))
        return error_set(err, ERR_DATA, "%s: resize \"%.40s\" is neither shortest_edge nor exact",
                         name, resize);
    if (strcmp(crop, "center") && strcmp(crop, "none"))
        return error_set(err, ERR_DATA, "%s: crop \"%.40s\" is neither center nor none", name,
                         crop);
    if (strcmp(exif, "applied") && strcmp(exif, "ignored"))
        return error_set(err, ERR_DATA, "%s: exif \"%.40s\" is neither applied nor ignored", name,
                         exif);
    p->shortest_edge = !strcmp(resize, "shortest_edge");
    p->size = to_side(square_of(json_get(j, "size")));
    p->do_crop = !strcmp(crop, "center");
    if (p->do_crop) p->crop_size = to_side(json_int(json_get(j, "crop_size"), p->size));
    p->rescale = 1 / 255.0;
    p->apply_orientation = !strcmp(exif, "applied");
    int rc = read_triple(json_get(j, "mean"), name, "mean", p->mean, err);
    return rc < 0 ? rc : read_triple(json_get(j, "std"), name, "std", p->std, err);
}

static int check(const struct preprocess *p, const char *name, struct error *err)
{
    if (p->size == 0)
        return error_set(err, ERR_DATA,
                         "%s: size must be one side of 1 to %d pixels (shortest_edge, or equal "
                         "height and width)",
                         name, PREPROCESS_MAX_SIDE);
    if (p->do_crop && (p->crop_size < 1 || p->crop_size > p->size))
        return error_set(
            err, ERR_DATA,
            "%s: crop_size must be a square of 1 to %d pixels (what the resize leaves)", name,
            p->size);
    if (!p->do_crop && p->shortest_edge)
        return error_set(err, ERR_DATA,
                         "%s: a resized short edge without a centre crop gives no square picture",
                         name);
    for (int c = 0; c < 3; c++)
        if (!(p->std[c] > 0))
            return error_set(err, ERR_DATA, "%s: image_std must be above 0, found %g", name,
                             p->std[c]);
    return 0;
}

int preprocess_read(const struct json *j, const char *name, struct preprocess *p, struct error *err)
{
    if (!json_is_object(j))
        return error_set(err, ERR_DATA, "%s: expected a JSON object that describes preprocessing",
                         name);
    struct preprocess found = {0};
    memcpy(found.mean, clip_mean, sizeof clip_mean);
    memcpy(found.std, clip_std, sizeof clip_std);
    int rc = read_resample(json_get(j, "resample"), name, &found.resample, err);
    if (rc < 0) return rc;
    rc = json_is_null(json_get(j, "resize")) ? read_hugging_face(j, name, &found, err)
                                             : read_identity(j, name, &found, err);
    if (rc < 0) return rc;
    rc = check(&found, name, err);
    if (rc < 0) return rc;
    *p = found;
    return 0;
}

static struct json *square_json(int side)
{
    struct json *j = json_new_object();
    json_set_int(j, "height", side);
    json_set_int(j, "width", side);
    return j;
}

static struct json *triple_json(const float x[3])
{
    struct json *j = json_new_array();
    for (int c = 0; c < 3; c++) json_push_number(j, x[c]);
    return j;
}

struct json *preprocess_json(const struct preprocess *p)
{
    struct json *j = json_new_object(), *size = square_json(p->size);
    if (p->shortest_edge) {
        json_free(size);
        size = json_new_object();
        json_set_int(size, "shortest_edge", p->size);
    }
    json_set_string(j, "image_processor_type", "CLIPImageProcessor");
    json_set_bool(j, "do_convert_rgb", true);
    json_set_bool(j, "do_resize", true);
    json_set(j, "size", size);
    json_set_int(j, "resample", p->resample);
    json_set_bool(j, "do_center_crop", p->do_crop);
    if (p->do_crop) json_set(j, "crop_size", square_json(p->crop_size));
    json_set_bool(j, "do_rescale", true);
    json_set_number(j, "rescale_factor", p->rescale);
    json_set_bool(j, "do_normalize", true);
    json_set(j, "image_mean", triple_json(p->mean));
    json_set(j, "image_std", triple_json(p->std));
    if (p->bgr) json_set_bool(j, "do_flip_channel_order", true);
    json_set_bool(j, "apply_orientation", p->apply_orientation);
    return j;
}

int preprocess_side(const struct preprocess *p)
{
    return p->do_crop ? p->crop_size : p->size;
}

struct preprocess preprocess_at_side(const struct preprocess *p, int side)
{
    struct preprocess q = *p;
    int own = preprocess_side(p);
    q.size = (int)(((int64_t)p->size * side * 2 + own) / (2 * own)); /* rounded to a pixel */
    if (q.do_crop) q.crop_size = side;
    return q;
}

static int whole_picture(const struct preprocess *p, struct resizer *r, const uint8_t *rgb, int w,
                         int h, int side, uint8_t *out, struct error *err)
{
    int64_t size = preprocess_at_side(p, side).size;
    int64_t new_w = size, new_h = size;
    if (p->shortest_edge && w < h)
        new_h = (int64_t)((double)(size * h) / w);
    else if (p->shortest_edge)
        new_w = (int64_t)((double)(size * w) / h);
    if (new_w > RESIZE_MAX_SIDE || new_h > RESIZE_MAX_SIDE)
        return error_set(err, ERR_DATA,
                         "a picture of %dx%d would become %lldx%lld: too long and thin", w, h,
                         (long long)new_w, (long long)new_h);
    struct resize_window window = {(int)(new_w - side) / 2, (int)(new_h - side) / 2, side, side};
    return resizer_window(r, rgb, w, h, (double[]){0, 0, w, h}, p->resample, (int)new_w, (int)new_h,
                          &window, out, err);
}

static void swap_pixels(uint8_t *a, uint8_t *b)
{
    for (int c = 0; c < 3; c++) {
        uint8_t x = a[c];
        a[c] = b[c];
        b[c] = x;
    }
}

static void mirror(uint8_t *rgb, int side)
{
    for (int y = 0; y < side; y++) {
        uint8_t *row = rgb + (size_t)y * side * 3;
        for (int x = 0; x < side / 2; x++) swap_pixels(row + 3 * x, row + 3 * (side - 1 - x));
    }
}

int preprocess_u8(const struct preprocess *p, struct resizer *r, const uint8_t *rgb, int w, int h,
                  const struct view_box *box, int side, uint8_t *out, struct error *err)
{
    if (side < 1 || side > PREPROCESS_MAX_SIDE)
        return error_set(err, ERR_USAGE, "side %d: 1 to %d pixels expected", side,
                         PREPROCESS_MAX_SIDE);
    if (box->whole) return whole_picture(p, r, rgb, w, h, side, out, err);
    double edges[4] = {box->left, box->top, (double)box->left + box->width,
                       (double)box->top + box->height};
    int rc = resizer_run(r, rgb, w, h, edges, p->resample, out, side, side, err);
    if (rc == 0 && box->flip) mirror(out, side);
    if (rc == 0) jitter_apply(&box->jitter, out, (size_t)side * (size_t)side);
    return rc;
}

void preprocess_scale(const struct preprocess *p, const uint8_t *in, int64_t n_pixels, float *out)
{
    float table[3][256];
    for (int c = 0; c < 3; c++)
        for (int v = 0; v < 256; v++)
            table[c][v] = ((float)(v * p->rescale) - p->mean[c]) / p->std[c];
    for (int64_t i = 0; i < n_pixels; i++)
        for (int c = 0; c < 3; c++) out[3 * i + c] = table[c][in[3 * i + (p->bgr ? 2 - c : c)]];
}
