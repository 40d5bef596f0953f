/* Pictures: decoding alone against libjpeg-turbo in a bare loop; decode and exact resize to the tower's pixels;
 * a random view with colour jitter and without; a picture of 12 megapixels made smaller. Against Pillow doing the same (open + convert + resize +
 * crop, or + save). All read the same bytes from memory. The pixels are compared as well, since speed
 * for other pixels is worth nothing. */
#include "tests/bench.h"

#include <jpeglib.h>

#include "featurize/preprocess.h"
#include "ingest/picture.h"
#include "ingest/reduce.h"
#include "store/digest.h"
#include "store/file.h"
#include "store/memory.h"

enum { N = 20, SIDE = 224, BYTES = SIDE * SIDE * 3 };
enum { LARGE_W = 4000, LARGE_H = 3000, TILE = 500 };

static char *photo[N];
static size_t n_photo[N];
static uint8_t *pixels; // (N, SIDE, SIDE, 3)

static double ours(void *ctx)
{
    struct error err = {0};
    struct picture_limits limits = picture_limits_default();
    struct preprocess p = {.shortest_edge = true,
                           .size = SIDE,
                           .resample = RESAMPLE_BICUBIC,
                           .do_crop = true,
                           .crop_size = SIDE};
    static struct picture pic; /* its buffers go from photo to photo, as in the program */
    double start = bench_cpu();
    for (int i = 0; i < N; i++) {
        bench_must(picture_decode(photo[i], n_photo[i], &limits, true, &pic, &err) == 0, &err);
        struct view_box box = {.whole = true, .width = pic.width_px, .height = pic.height_px};
        int rc = preprocess_u8(&p, ctx, pic.rgb, (int)pic.width_px, (int)pic.height_px, &box, SIDE,
                               pixels + (size_t)i * BYTES, &err);
        bench_must(rc == 0, &err);
    }
    double seconds = bench_cpu() - start;
    picture_release(&pic);
    return seconds;
}

static double ours_decoding(void *ctx)
{
    struct picture *pic = ctx;
    struct error err = {0};
    struct picture_limits limits = picture_limits_default();
    double start = bench_cpu();
    for (int i = 0; i < N; i++)
        bench_must(picture_decode(photo[i], n_photo[i], &limits, true, pic, &err) == 0, &err);
    return bench_cpu() - start;
}

/* Into one buffer of the largest photo's size, a row a call. */
static double decode_alone(void *ctx)
{
    uint8_t *rgb = ctx;
    double start = bench_cpu();
    for (int i = 0; i < N; i++) {
        struct jpeg_decompress_struct j;
        struct jpeg_error_mgr manager;
        j.err = jpeg_std_error(&manager);
        jpeg_create_decompress(&j);
        jpeg_mem_src(&j, (const unsigned char *)photo[i], n_photo[i]);
        jpeg_read_header(&j, TRUE);
        j.out_color_space = JCS_RGB;
        jpeg_start_decompress(&j);
        while (j.output_scanline < j.output_height) {
            uint8_t *row = rgb + (size_t)j.output_scanline * j.output_width * 3;
            jpeg_read_scanlines(&j, &row, 1);
        }
        jpeg_finish_decompress(&j);
        jpeg_destroy_decompress(&j);
    }
    return bench_cpu() - start;
}

/* The middle of each photo, three quarters of either side, as a view of it. */
struct views {
    struct resizer *r;
    struct jitter jitter;
    struct picture photo[N]; /* decoded */
};

static double ours_views(void *ctx)
{
    struct views *v = ctx;
    struct error err = {0};
    struct preprocess p = {.size = SIDE, .resample = RESAMPLE_BICUBIC};
    double start = bench_cpu();
    for (int i = 0; i < N; i++) {
        uint32_t w = v->photo[i].width_px, h = v->photo[i].height_px;
        struct view_box box = {.left = w / 8,
                               .top = h / 8,
                               .width = w / 4 * 3,
                               .height = h / 4 * 3,
                               .jitter = v->jitter};
        int rc = preprocess_u8(&p, v->r, v->photo[i].rgb, (int)w, (int)h, &box, SIDE,
                               pixels + (size_t)i * BYTES, &err);
        bench_must(rc == 0, &err);
    }
    return bench_cpu() - start;
}

struct large {
    char path[120];
    uint32_t side; /* to come */
    char *bytes;
    size_t n;
    struct reducer *r;
};

static double ours_reducing(void *ctx)
{
    struct large *l = ctx;
    struct error err = {0};
    struct picture_limits limits = picture_limits_default();
    struct reduced out;
    double start = bench_cpu();
    bench_must(reducer_run(l->r, l->bytes, l->n, &limits, l->side, &out, &err) == 0, &err);
    double seconds = bench_cpu() - start;
    reduced_release(&out);
    return seconds;
}

/* One tile of the mosaic: the middle of a photo, each pixel as two by two. */
static void lay_tile(uint8_t *rgb, int x, int y, const struct picture *p)
{
    uint32_t left = (p->width_px - TILE / 2) / 2, top = (p->height_px - TILE / 2) / 2;
    for (int i = 0; i < TILE; i++)
        for (int k = 0; k < TILE; k++)
            memcpy(rgb + ((size_t)(y + i) * LARGE_W + (size_t)(x + k)) * 3,
                   p->rgb + ((size_t)(top + i / 2) * p->width_px + (left + k / 2)) * 3, 3);
}

/* As a camera would store it: quality 90, chroma halved. */
static void encode_large(const uint8_t *rgb, const char *path)
{
    struct jpeg_compress_struct j;
    struct jpeg_error_mgr manager;
    FILE *f = fopen(path, "wb");
    struct error err = {.text = "cannot write the large picture"};
    bench_must(f, &err);
    j.err = jpeg_std_error(&manager);
    jpeg_create_compress(&j);
    jpeg_stdio_dest(&j, f);
    j.image_width = LARGE_W;
    j.image_height = LARGE_H;
    j.input_components = 3;
    j.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 90, TRUE);
    jpeg_start_compress(&j, TRUE);
    while (j.next_scanline < j.image_height) {
        uint8_t *row = (uint8_t *)rgb + (size_t)j.next_scanline * LARGE_W * 3;
        jpeg_write_scanlines(&j, &row, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    fclose(f);
}

/* A mosaic of the photos with 12 megapixels, as a file. */
static void make_large(struct large *l, struct picture *pic)
{
    struct error err = {0};
    struct picture_limits limits = picture_limits_default();
    uint8_t *rgb = memory_array(LARGE_W * LARGE_H, 3, MEMORY_MAX_FILE, &err);
    bench_must(rgb, &err);
    for (int y = 0, i = 0; y < LARGE_H; y += TILE)
        for (int x = 0; x < LARGE_W; x += TILE, i++) {
            int k = i % N;
            int rc = picture_decode(photo[k], n_photo[k], &limits, true, pic, &err);
            bench_must(rc == 0, &err);
            lay_tile(rgb, x, y, pic);
        }
    snprintf(l->path, sizeof l->path, "%.80s/large.jpg", bench_folder());
    encode_large(rgb, l->path);
    memory_free(rgb);
    bench_must(file_read(l->path, MEMORY_MAX_FILE, &l->bytes, &l->n, &err) == 0, &err);
    l->r = reducer_new(&err);
    bench_must(l->r, &err);
}

static void bench_reduce_to(struct large *l, uint32_t side, struct bench_peer *pillow)
{
    char ask[2][160], title[100];
    l->side = side;
    snprintf(ask[0], sizeof ask[0], "reduce %s %u", l->path, side);
    snprintf(ask[1], sizeof ask[1], "draft %s %u", l->path, side);
    snprintf(title, sizeof title, "a JPEG of 12 megapixels to one of %u x %u, one thread", side,
             side * 3 / 4);
    struct bench_entry e[] = {
        {.name = "clipstill", .work = 1, .run = ours_reducing, .ctx = l},
        {.name = "decode + BICUBIC + save",
         .work = 1,
         .peer = pillow,
         .ask = ask[0],
         .goal = ">= 2.5"},
        {.name = "draft + BICUBIC + save", .work = 1, .peer = pillow, .ask = ask[1]}};
    bench_table(title, "pictures/s", e, 3, 9);
}

static void bench_reduce(struct bench_peer *pillow, struct picture *pic)
{
    struct large l = {0};
    make_large(&l, pic);
    bench_reduce_to(&l, 1024, pillow); /* decoded in full */
    bench_reduce_to(&l, 512, pillow);  /* decoded to a half */
    reducer_free(l.r);
    memory_free(l.bytes);
}

static void compare_pixels(struct bench_peer *pillow, const char *ask)
{
    uint8_t digest[DIGEST_BYTES];
    char mine[2 * DIGEST_BYTES + 1], theirs[2 * DIGEST_BYTES + 2];
    if (!pillow->to) return;
    digest_of(pixels, (size_t)N * BYTES, digest);
    for (int i = 0; i < DIGEST_BYTES; i++) sprintf(mine + 2 * i, "%02x", digest[i]);
    bench_peer_ask(pillow, ask, theirs, sizeof theirs);
    printf("  pixels of clipstill and Pillow: %s   goal equal\n",
           strcmp(mine, theirs) ? "DIFFERENT" : "equal, all of them");
}

static void bench_views(struct bench_peer *pillow, struct resizer *r)
{
    struct views with = {
        .r = r,
        .jitter = {4,
                   {JITTER_BRIGHTNESS, JITTER_CONTRAST, JITTER_SATURATION, JITTER_HUE},
                   {20480, 12288, 18432, 20}}};
    struct error err = {0};
    struct picture_limits limits = picture_limits_default();
    for (int i = 0; i < N; i++)
        bench_must(picture_decode(photo[i], n_photo[i], &limits, true, &with.photo[i], &err) == 0,
                   &err);
    struct views without = with;
    without.jitter.n = 0;
    struct bench_entry e[] = {
        {.name = "clipstill", .work = N, .run = ours_views, .ctx = &with},
        {.name = "without jitter", .work = N, .run = ours_views, .ctx = &without},
        {.name = "resize + ImageEnhance + HSV",
         .work = N,
         .peer = pillow,
         .ask = "views",
         .goal = ">= 1"}};
    bench_table("20 decoded photos: a view of 224 with all of colour jitter, one thread", "views/s",
                e, 3, 9);
    ours_views(&with);
    compare_pixels(pillow, "digest_views");
    for (int i = 0; i < N; i++) picture_release(&with.photo[i]);
}

int main(void)
{
    struct error err = {0};
    struct bench_peer pillow;
    struct resizer *r = resizer_new(&err);
    bench_must(r, &err);
    pixels = memory_array(N, BYTES, MEMORY_MAX_FILE, &err);
    uint8_t *rgb = memory_array(2000 * 2000, 3, MEMORY_MAX_FILE, &err);
    bench_must(pixels && rgb, &err);
    char path[N][80];
    const char *args[N + 1] = {NULL};
    for (int i = 0; i < N; i++) {
        snprintf(path[i], sizeof path[i], "tests/golden/preprocess/inputs/photo_%02d.jpg", i);
        args[i] = path[i];
        bench_must(file_read(path[i], MEMORY_MAX_FILE, &photo[i], &n_photo[i], &err) == 0, &err);
    }
    bench_peer_open(&pillow, "Pillow", "tests/peer_picture.py", args);
    struct picture pic = {0};
    const char *limit = "limit: libjpeg-turbo decoding alone";
    struct bench_entry d[] = {
        {.name = "clipstill", .work = N, .run = ours_decoding, .ctx = &pic},
        {.work = N, .peer = &pillow, .ask = "decode"},
        {.name = limit, .work = N, .run = decode_alone, .ctx = rgb, .goal = ">= 0.9"}};
    bench_table("20 photos: decode, one thread", "pictures/s", d, 3, 15);
    struct bench_entry e[] = {{.name = "clipstill", .work = N, .run = ours, .ctx = r},
                              {.work = N, .peer = &pillow, .ask = "run", .goal = ">= 2"},
                              {.name = limit, .work = N, .run = decode_alone, .ctx = rgb}};
    bench_table("20 photos: decode + exact bicubic resize and crop to 224, one thread",
                "pictures/s", e, 3, 9);
    compare_pixels(&pillow, "digest");
    bench_views(&pillow, r);
    bench_reduce(&pillow, &pic);
    bench_peer_close(&pillow);
    picture_release(&pic);
    for (int i = 0; i < N; i++) memory_free(photo[i]);
    memory_free(rgb);
    memory_free(pixels);
    resizer_free(r);
    return 0;
}
