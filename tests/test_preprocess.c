/* Preprocessing against Pillow's and Hugging Face's own results: equal, byte for byte. */
#include "featurize/preprocess.h"
#include "ingest/picture.h"
#include "store/file.h"
#include "store/memory.h"
#include "store/npy.h"
#include "tests/check.h"

static const char made_set[] = "tests/golden/preprocess", own_set[] = "../shared/golden/preprocess";

static int load(const char *folder, const char *name, struct picture *p, struct error *err)
{
    char path[512], *bytes;
    size_t n;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int rc = file_read(path, 1 << 28, &bytes, &n, err);
    if (rc < 0) return rc;
    struct picture_limits limits = picture_limits_default();
    rc = picture_decode(bytes, n, &limits, true, p, err);
    memory_free(bytes);
    return rc;
}

static bool has_digest(const uint8_t *rgb, size_t n, const struct json *hex)
{
    uint8_t digest[DIGEST_BYTES];
    char found[DIGEST_HEX];
    digest_of(rgb, n, digest);
    digest_to_hex(digest, found);
    return !strcmp(found, json_text(hex, ""));
}

static void check_png(const char *folder, const struct json *result, const uint8_t *rgb, size_t n)
{
    struct picture p = {0};
    struct error err = {0};
    CHECK_OK(load(folder, json_text(json_get(result, "png"), ""), &p, &err), &err);
    CHECK(n == (size_t)p.width_px * p.height_px * 3 && !memcmp(p.rgb, rgb, n));
    picture_release(&p);
}

static void check_case(const char *folder, const struct json *c, struct resizer *r,
                       struct error *err)
{
    const struct json *edge = json_get(c, "short_edge"), *size = json_get(edge, "size");
    const char *file = json_text(json_get(c, "file"), "");
    char name[300];
    snprintf(name, sizeof name, "inputs/%s", file);
    struct picture p = {0};
    CHECK_OK(load(folder, name, &p, err), err);
    if (!has_digest(p.rgb, (size_t)p.width_px * p.height_px * 3, json_get(c, "rgb_sha256"))) {
        if (!json_is_null(json_get(c, "alternative"))) return picture_release(&p); /* 16-bit grey */
        CHECK_FAIL("%s: decoded pixels differ", file);
    }
    int w = (int)p.width_px, h = (int)p.height_px;
    int ew = (int)json_int(json_at(size, 0), 0), eh = (int)json_int(json_at(size, 1), 0);
    uint8_t *out = memory_array((uint64_t)ew * eh, 3, MEMORY_MAX_FILE, err);
    CHECK_OK(
        resizer_run(r, p.rgb, w, h, (double[]){0, 0, w, h}, RESAMPLE_BICUBIC, out, ew, eh, err),
        err);
    if (!has_digest(out, (size_t)ew * eh * 3, json_get(edge, "sha256")))
        CHECK_FAIL("%s: short edge differs", file);

    struct preprocess how = {.shortest_edge = true,
                             .size = 224,
                             .resample = RESAMPLE_BICUBIC,
                             .do_crop = true,
                             .crop_size = 224};
    struct view_box whole = {.whole = true};
    static uint8_t square[224 * 224 * 3];
    CHECK_OK(preprocess_u8(&how, r, p.rgb, w, h, &whole, 224, square, err), err);
    if (!has_digest(square, sizeof square, json_get(json_get(c, "crop"), "sha256")))
        CHECK_FAIL("%s: crop differs", file);
    check_png(folder, json_get(c, "crop"), square, sizeof square);
    how.shortest_edge = how.do_crop = false;
    CHECK_OK(preprocess_u8(&how, r, p.rgb, w, h, &whole, 224, square, err), err);
    if (!has_digest(square, sizeof square, json_get(json_get(c, "direct"), "sha256")))
        CHECK_FAIL("%s: direct differs", file);
    check_png(folder, json_get(c, "direct"), square, sizeof square);
    memory_free(out);
    picture_release(&p);
}

static void check_set(const char *folder, size_t at_least)
{
    char path[300];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    struct json *j = json_read_file(path, 1 << 24, &err);
    CHECK(j != NULL);
    const struct json *cases = json_get(j, "cases");
    CHECK(json_size(cases) >= at_least);
    struct resizer *r = resizer_new(&err);
    for (size_t i = 0; i < json_size(cases); i++) check_case(folder, json_at(cases, i), r, &err);
    resizer_free(r);
    json_free(j);
}

TEST(made_pictures_equal_pillow)
{
    check_set(made_set, 70);
}

TEST(photos_equal_pillow)
{
    if (!file_exists("../shared/golden/preprocess/manifest.json"))
        SKIP("../shared/golden/preprocess is not there");
    check_set(own_set, 70);
}

static int read_config(const char *teacher, struct preprocess *p, struct error *err)
{
    char path[300];
    snprintf(path, sizeof path, "%s/model/preprocessor_config.json", teacher);
    struct json *j = json_read_file(path, 1 << 20, err);
    int rc = j ? preprocess_read(j, path, p, err) : err->code;
    json_free(j);
    return rc;
}

/* pixels_u8 (n, S, S, 3) equal; pixels (n, 3, S, S) within 1e-5. */
static void check_teacher(const char *teacher)
{
    struct error err = {0};
    struct preprocess p;
    struct npy u8, f32;
    char path[300];
    CHECK_OK(read_config(teacher, &p, &err), &err);
    snprintf(path, sizeof path, "%s/expected/pixels_u8.npy", teacher);
    CHECK_OK(npy_open(path, &u8, &err), &err);
    snprintf(path, sizeof path, "%s/expected/pixels.npy", teacher);
    CHECK_OK(npy_open(path, &f32, &err), &err);
    int side = preprocess_side(&p), n = side * side;
    CHECK_EQ(u8.n_cols, n * 3);
    uint8_t *out = memory_array(n, 3, MEMORY_MAX_SMALL, &err);
    float *x = memory_array(n, 3 * sizeof *x, MEMORY_MAX_SMALL, &err),
          *want = memory_array(n, 3 * sizeof *x, MEMORY_MAX_SMALL, &err);
    struct resizer *r = resizer_new(&err);
    for (uint64_t i = 0; i < u8.n_rows; i++) {
        struct picture pic = {0};
        struct view_box whole = {.whole = true};
        snprintf(path, sizeof path, "inputs/%d.jpg", (int)i);
        CHECK_OK(load(teacher, path, &pic, &err), &err);
        CHECK_OK(preprocess_u8(&p, r, pic.rgb, (int)pic.width_px, (int)pic.height_px, &whole, side,
                               out, &err),
                 &err);
        CHECK(!memcmp(out, u8.data + i * u8.n_cols, u8.n_cols));
        preprocess_scale(&p, out, n, x);
        npy_row_f32(&f32, i, want);
        double worst = 0;
        for (int j = 0; j < n; j++)
            for (int c = 0; c < 3; c++)
                worst = fmax(worst, fabs((double)x[3 * j + c] - want[c * n + j]));
        CHECK_NEAR(worst, 0, 1e-5);
        picture_release(&pic);
    }
    resizer_free(r);
    memory_free(out);
    memory_free(x);
    memory_free(want);
    npy_close(&u8);
    npy_close(&f32);
}

TEST(made_teacher_sees_the_same_pixels)
{
    check_teacher("tests/golden/altclip-tiny");
}

TEST(other_teachers_see_the_same_pixels)
{
    static const char *const names[] = {"altclip-tiny", "clip-tiny", "cnclip-tiny"};
    if (!file_is_folder("../shared/golden/altclip-tiny")) SKIP("../shared/golden is not there");
    for (int i = 0; i < 3; i++) {
        char teacher[300];
        snprintf(teacher, sizeof teacher, "../shared/golden/%s", names[i]);
        check_teacher(teacher);
    }
}

static int read_text(const char *text, struct preprocess *p, struct error *err)
{
    struct json *j = json_read(text, strlen(text), "p.json", err);
    if (!j) return err->code;
    int rc = preprocess_read(j, "p.json", p, err);
    json_free(j);
    return rc;
}

TEST(old_and_new_spellings)
{
    struct error err = {0};
    struct preprocess p;
    CHECK_OK(read_text("{\"size\": 224, \"crop_size\": 200, \"feature_extractor_type\": "
                       "\"CLIPFeatureExtractor\"}",
                       &p, &err),
             &err);
    CHECK(p.shortest_edge && p.do_crop);
    CHECK_EQ(p.size, 224);
    CHECK_EQ(preprocess_side(&p), 200);
    CHECK_EQ(p.resample, RESAMPLE_BICUBIC);
    CHECK(p.apply_orientation);
    CHECK_OK(read_text(
                 "{\"size\": 96, \"image_processor_type\": \"ViTImageProcessor\", \"resample\": 2, "
                 "\"image_mean\": 0.5, \"image_std\": [0.5, 0.5, 0.25]}",
                 &p, &err),
             &err);
    CHECK(p.mean[0] == 0.5f && p.mean[2] == 0.5f && p.std[2] == 0.25f);
    CHECK(!p.shortest_edge && !p.do_crop);
    CHECK_EQ(preprocess_side(&p), 96);
    CHECK_OK(read_text("{\"resize\": \"exact\", \"size\": 128, \"resample\": \"bilinear\", "
                       "\"exif\": \"ignored\"}",
                       &p, &err),
             &err);
    CHECK(!p.shortest_edge && !p.do_crop && !p.apply_orientation);
    CHECK_EQ(p.resample, RESAMPLE_BILINEAR);
    CHECK_OK(read_text("{\"resize\": \"shortest_edge\", \"size\": 256, \"crop\": \"center\", "
                       "\"crop_size\": 224}",
                       &p, &err),
             &err);
    CHECK(p.shortest_edge && p.do_crop);
    CHECK_EQ(preprocess_side(&p), 224);
}

#define CLIP    "\"image_processor_type\": \"CLIPImageProcessor\""
#define OLD     "\"feature_extractor_type\": \"CLIPFeatureExtractor\""
#define CHINESE "\"image_processor_type\": \"ChineseCLIPImageProcessor\""

/* What Hugging Face's two processors do with a file: absent keys are theirs. */
TEST(absent_keys_are_the_processor_s_own)
{
    static const struct {
        const char *text;
        bool shortest_edge;
        int size, crop; /* 0: none */
        enum resample resample;
        double rescale;
        float mean, std; /* of green */
    } cases[] = {
        {"{" CLIP "}", true, 224, 224, RESAMPLE_BICUBIC, 1 / 255.0, 0.4578275f, 0.26130258f},
        {"{" CHINESE "}", true, 224, 224, RESAMPLE_BICUBIC, 1 / 255.0, 0.4578275f, 0.26130258f},
        {"{" OLD ", \"size\": 64, \"crop_size\": 56, \"resample\": 2}", true, 64, 56,
         RESAMPLE_BILINEAR, 1 / 255.0, 0.4578275f, 0.26130258f},
        {"{" CLIP ", \"size\": 256}", true, 256, 224, RESAMPLE_BICUBIC, 1 / 255.0, 0.4578275f,
         0.26130258f},
        {"{" CLIP
         ", \"size\": {\"shortest_edge\": 96}, \"crop_size\": {\"height\": 80, \"width\": 80}, "
         "\"image_mean\": null, \"image_std\": [1, 2, 3], \"do_convert_rgb\": false}",
         true, 96, 80, RESAMPLE_BICUBIC, 1 / 255.0, 0.4578275f, 2},
        /* both sides given: straight to them, and cropped all the same */
        {"{" CLIP
         ", \"size\": {\"height\": 72, \"width\": 72}, \"crop_size\": 64, \"resample\": 0}",
         false, 72, 64, RESAMPLE_NEAREST, 1 / 255.0, 0.4578275f, 0.26130258f},
        {"{" CLIP ", \"size\": {\"height\": 72, \"width\": 72}, \"do_center_crop\": false, "
         "\"crop_size\": 64, \"do_normalize\": false}",
         false, 72, 0, RESAMPLE_BICUBIC, 1 / 255.0, 0, 1},
        {"{" CHINESE ", \"size\": {\"height\": 64, \"width\": 64}, \"rescale_factor\": 0.0078125}",
         false, 64, 64, RESAMPLE_BICUBIC, 0.0078125, 0.4578275f, 0.26130258f},
        {"{" CHINESE ", \"size\": 64, \"do_center_crop\": false, \"do_rescale\": false}", false, 64,
         0, RESAMPLE_BICUBIC, 1, 0.4578275f, 0.26130258f},
        {"{\"size\": [48, 48], \"do_normalize\": true, \"image_mean\": 0.25, \"image_std\": 0.75}",
         false, 48, 0, RESAMPLE_BICUBIC, 1 / 255.0, 0.25f, 0.75f},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        struct preprocess p;
        CHECK_OK(read_text(cases[i].text, &p, &err), &err);
        if (p.shortest_edge != cases[i].shortest_edge || p.size != cases[i].size ||
            p.do_crop != (cases[i].crop > 0) || p.crop_size != cases[i].crop ||
            p.resample != cases[i].resample || p.rescale != cases[i].rescale ||
            p.mean[1] != cases[i].mean || p.std[1] != cases[i].std)
            CHECK_FAIL("case %zu: %s: short %d, size %d, crop %d %d, resample %d, %g, %g, %g", i,
                       cases[i].text, p.shortest_edge, p.size, p.do_crop, p.crop_size, p.resample,
                       p.rescale, (double)p.mean[1], (double)p.std[1]);
    }
}

TEST(json_round_trips)
{
    struct error err = {0};
    struct preprocess p, back;
    CHECK_OK(read_text("{\"resize\": \"shortest_edge\", \"size\": 256, \"crop\": \"center\", "
                       "\"crop_size\": 224, \"mean\": [0.1, 0.2, 0.3], \"exif\": \"ignored\"}",
                       &p, &err),
             &err);
    struct json *j = preprocess_json(&p);
    CHECK_OK(preprocess_read(j, "back", &back, &err), &err);
    json_free(j);
    CHECK_EQ(back.size, 256);
    CHECK_EQ(back.crop_size, 224);
    CHECK(back.shortest_edge && back.do_crop && !back.apply_orientation);
    CHECK(back.mean[2] == p.mean[2] && back.std[1] == p.std[1] && back.rescale == p.rescale);
}

TEST(what_is_not_understood_is_refused)
{
    static const char *const bad[][2] = {
        {"{\"size\": {\"height\": 224, \"width\": 200}}", "size must be one side"},
        {"{\"size\": {\"shortest_edge\": 0}}", "size must be one side"},
        {"{\"size\": 99999}", "size must be one side of 1 to 4096"},
        {"{}", "size must be one side"},
        {"[]", "expected a JSON object"},
        {"{\"size\": 224, \"crop_size\": 256}", "crop_size must be a square of 1 to 224"},
        {"{\"size\": 224, \"do_center_crop\": false}", "no square picture"},
        {"{\"size\": 224, \"resample\": 5}", "resample 5 is no filter"},
        {"{\"size\": 224, \"resample\": \"cubic\"}", "resample \"cubic\" is none of"},
        {"{\"size\": 224, \"do_resize\": false}", "do_resize is false"},
        {"{\"size\": 224, \"image_processor_type\": \"ViTImageProcessor\", \"resample\": 2}",
         "image_mean is absent, and what ViTImageProcessor takes"},
        {"{\"size\": 224, \"image_processor_type\": \"ViTImageProcessor\", \"image_mean\": 0, "
         "\"image_std\": 1}",
         "resample is absent"},
        {"{\"size\": 224, \"image_mean\": [1, 2]}", "image_mean must have three numbers"},
        {"{\"size\": 224, \"image_std\": [1, 0, 1]}", "image_std must be above 0"},
        {"{\"resize\": \"longest\", \"size\": 2}", "resize \"longest\" is neither"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct error err = {0};
        struct preprocess p;
        CHECK_EQ(read_text(bad[i][0], &p, &err), ERR_DATA);
        CHECK_HAS(err.text, bad[i][1]);
        CHECK_HAS(err.text, "p.json");
    }
}

/* A student's side: the same field of view, so that a smooth picture is the teacher's picture made
 * smaller. */
TEST(another_side_sees_the_same_field)
{
    struct error err = {0};
    struct preprocess p = {.shortest_edge = true,
                           .size = 256,
                           .resample = RESAMPLE_BICUBIC,
                           .do_crop = true,
                           .crop_size = 224};
    struct view_box box = {.whole = true};
    static uint8_t rgb[300 * 500 * 3], big[224 * 224 * 3], small[112 * 112 * 3];
    for (int y = 0; y < 300; y++)
        for (int x = 0; x < 500; x++) {
            rgb[(y * 500 + x) * 3] = (uint8_t)(x / 2);
            rgb[(y * 500 + x) * 3 + 1] = (uint8_t)(y * 255 / 300);
        }
    struct resizer *r = resizer_new(&err);
    for (int view = 0; view < 2; view++) {
        if (view)
            box = (struct view_box){
                .left = 100, .top = 50, .width = 200, .height = 220, .flip = true};
        CHECK_OK(preprocess_u8(&p, r, rgb, 500, 300, &box, 224, big, &err), &err);
        CHECK_OK(preprocess_u8(&p, r, rgb, 500, 300, &box, 112, small, &err), &err);
        int worst = 0;
        for (int y = 0; y < 112; y++)
            for (int x = 0; x < 112; x++)
                for (int c = 0; c < 2; c++) {
                    int at = (2 * y * 224 + 2 * x) * 3 + c, row = 224 * 3;
                    int mean = (big[at] + big[at + 3] + big[at + row] + big[at + row + 3] + 2) / 4;
                    int d = abs(mean - small[(y * 112 + x) * 3 + c]);
                    worst = d > worst ? d : worst;
                }
        CHECK(worst <= 2);
        CHECK((big[0] > big[223 * 3]) == (view == 1)); /* mirrored */
    }
    resizer_free(r);
}

/* After crop and flip, in the pixels of the side that is asked for. */
TEST(a_view_is_jittered_last)
{
    struct error err;
    struct preprocess p = {.shortest_edge = true,
                           .size = 64,
                           .resample = RESAMPLE_BICUBIC,
                           .do_crop = true,
                           .crop_size = 64};
    struct jitter j = {2, {JITTER_CONTRAST, JITTER_HUE}, {20000, 25}};
    static uint8_t rgb[90 * 80 * 3], plain[64 * 64 * 3], jittered[64 * 64 * 3];
    for (size_t i = 0; i < sizeof rgb; i++) rgb[i] = (uint8_t)(i * i / 300);
    struct resizer *r = resizer_new(&err);
    struct view_box box = {.left = 10, .top = 5, .width = 70, .height = 60, .flip = true};
    CHECK_OK(preprocess_u8(&p, r, rgb, 90, 80, &box, 64, plain, &err), &err);
    box.jitter = j;
    CHECK_OK(preprocess_u8(&p, r, rgb, 90, 80, &box, 64, jittered, &err), &err);
    CHECK(memcmp(plain, jittered, sizeof plain) != 0);
    jitter_apply(&j, plain, 64 * 64);
    CHECK(!memcmp(plain, jittered, sizeof plain));
    resizer_free(r);
}

TEST_MAIN
