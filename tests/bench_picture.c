/* Photos to the tower's pixels: decode and exact resize, against Pillow's open + convert + resize +
 * crop, and against the decoding alone that both of them stand on. All read the same bytes from
 * memory. The pixels of both are compared as well, since speed for other pixels is worth nothing. */
#include "tests/bench.h"

#include <jpeglib.h>

#include "featurize/preprocess.h"
#include "ingest/picture.h"
#include "store/digest.h"
#include "store/file.h"
#include "store/memory.h"

enum { N = 20, SIDE = 224, BYTES = SIDE * SIDE * 3 };

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
    double start = bench_cpu();
    for (int i = 0; i < N; i++) {
        struct picture pic = {0};
        bench_must(picture_decode(photo[i], n_photo[i], &limits, true, &pic, &err) == 0, &err);
        struct view_box box = {.whole = true, .width = pic.width_px, .height = pic.height_px};
        int rc = preprocess_u8(&p, ctx, pic.rgb, (int)pic.width_px, (int)pic.height_px, &box, SIDE,
                               pixels + (size_t)i * BYTES, &err);
        bench_must(rc == 0, &err);
        picture_release(&pic);
    }
    return bench_cpu() - start;
}

static double decode_alone(void *ctx)
{
    uint8_t *row = ctx;
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
        while (j.output_scanline < j.output_height) jpeg_read_scanlines(&j, &row, 1);
        jpeg_finish_decompress(&j);
        jpeg_destroy_decompress(&j);
    }
    return bench_cpu() - start;
}

static void compare_pixels(struct bench_peer *pillow)
{
    uint8_t digest[DIGEST_BYTES];
    char mine[2 * DIGEST_BYTES + 1], theirs[2 * DIGEST_BYTES + 2];
    if (!pillow->to) return;
    digest_of(pixels, (size_t)N * BYTES, digest);
    for (int i = 0; i < DIGEST_BYTES; i++) sprintf(mine + 2 * i, "%02x", digest[i]);
    bench_peer_ask(pillow, "digest", theirs, sizeof theirs);
    printf("  pixels of clipstill and Pillow: %s   goal equal\n",
           strcmp(mine, theirs) ? "DIFFERENT" : "equal, all of them");
}

int main(void)
{
    struct error err = {0};
    struct bench_peer pillow;
    struct resizer *r = resizer_new(&err);
    bench_must(r, &err);
    pixels = memory_array(N, BYTES, MEMORY_MAX_FILE, &err);
    uint8_t *row = memory_array(JPEG_MAX_DIMENSION, 3, MEMORY_MAX_FILE, &err);
    bench_must(pixels && row, &err);
    char path[N][80];
    const char *args[N + 1] = {NULL};
    for (int i = 0; i < N; i++) {
        snprintf(path[i], sizeof path[i], "tests/golden/preprocess/inputs/photo_%02d.jpg", i);
        args[i] = path[i];
        bench_must(file_read(path[i], MEMORY_MAX_FILE, &photo[i], &n_photo[i], &err) == 0, &err);
    }
    bench_peer_open(&pillow, "Pillow", "tests/peer_picture.py", args);
    struct bench_entry e[] = {{.name = "clipstill", .work = N, .run = ours, .ctx = r},
                              {.work = N, .peer = &pillow, .ask = "run", .goal = ">= 2"},
                              {.name = "limit: libjpeg-turbo decoding alone",
                               .work = N,
                               .run = decode_alone,
                               .ctx = row}};
    bench_table("20 photos: decode + exact bicubic resize and crop to 224, one thread",
                "pictures/s", e, 3, 9);
    compare_pixels(&pillow);
    bench_peer_close(&pillow);
    for (int i = 0; i < N; i++) memory_free(photo[i]);
    memory_free(row);
    memory_free(pixels);
    resizer_free(r);
    return 0;
}
