/* The worked examples of store/FORMAT.md are what the program reads and writes. */
#include "store/block.h"
#include "store/bytes.h"
#include "store/corpusrecord.h"
#include "store/file.h"
#include "store/memory.h"
#include "tests/check.h"

#define MAX_EXAMPLES 8
#define INDEX_AT     40

static struct {
    uint8_t bytes[512];
    size_t n;
} examples[MAX_EXAMPLES];
static int n_examples;

/* The hex blocks of the page: lines of four spaces, an offset, and bytes. Offset 0 begins one. */
static void read_examples(void)
{
    struct error err;
    char *text = NULL, *rest = NULL;
    size_t n;
    n_examples = 0;
    CHECK_OK(file_read("store/FORMAT.md", MEMORY_MAX_SMALL, &text, &n, &err), &err);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        unsigned at, byte;
        int used = 0;
        if (sscanf(line, "    %4x  %n", &at, &used) != 1 || used != 10) continue;
        if (at == 0) n_examples++;
        if (n_examples > MAX_EXAMPLES || examples[n_examples - 1].n % 512 != at % 512) break;
        for (char *p = line + used; sscanf(p, "%2x", &byte) == 1; p += p[2] ? 3 : 2)
            examples[n_examples - 1].bytes[examples[n_examples - 1].n++] = (uint8_t)byte;
    }
    memory_free(text);
    CHECK_EQ(n_examples, 4);
}

static void load(void)
{
    memset(examples, 0, sizeof examples);
    read_examples();
}

enum { CAPTION, META, BLOCK, PLANES };

TEST(a_caption_and_its_sum)
{
    uint8_t want[64], key[4] = {0};
    load();
    digest_of("a dog", 5, want);
    uint8_t *p = bytes_put(want + DIGEST_BYTES, "a dog", 5);
    bytes_put_u64(p, record_sum(TABLE_CAPTIONS, (struct kv_bytes){key, 4}, want, 37));
    CHECK_EQ(examples[CAPTION].n, 45);
    CHECK(!memcmp(examples[CAPTION].bytes, want, 45));
}

TEST(a_value_of_meta)
{
    uint8_t want[12] = {1};
    load();
    bytes_put_u64(want + 4, digest_short("format", 6) ^ digest_short(want, 4));
    CHECK_EQ(examples[META].n, sizeof want);
    CHECK(!memcmp(examples[META].bytes, want, sizeof want));
}

static const uint32_t SLOTS[3] = {0, 2, 5};
static const char *const TEXTS[3] = {"a dog", "a cat", "two dogs"};
static const float VECTORS[3][4] = {{3, 4, 0, 0}, {0, 0, 0, 0}, {1, -2, 3, -4}};
static const int16_t CODES[3][4] = {{17, 23, 0, 0}, {0}, {6, -12, 18, -24}};

static uint64_t check_of(int i)
{
    uint8_t key[DIGEST_BYTES];
    digest_of(TEXTS[i], strlen(TEXTS[i]), key);
    return block_check_of(key);
}

TEST(a_block_is_read)
{
    struct error err;
    struct codec codec;
    struct block_shape shape;
    struct block b;
    static uint8_t plain[1 << 21];
    float unit[4];
    int16_t code[4];
    load();
    CHECK_OK(codec_init(&codec, STORAGE_Q, 4, 1e-4f, &err), &err);
    CHECK_OK(block_shape_init(&shape, &codec, 0, &err), &err);
    struct compress *z = compress_new(&err);
    uint8_t *record = examples[BLOCK].bytes;
    size_t n = examples[BLOCK].n;
    CHECK_EQ(n, 181);
    CHECK_OK(block_decode(&b, &shape, 0, 7, record, n, plain, z, &err), &err);
    CHECK_EQ(b.n_present, 3);
    CHECK_EQ(examples[PLANES].n, 24);
    CHECK(!memcmp(plain, examples[PLANES].bytes, 24));
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(b.check[SLOTS[i]], check_of(i));
        CHECK_EQ(b.kind[SLOTS[i]], i == 1 ? CODEC_ZERO : CODEC_CODED);
        if (i == 1) continue;
        block_code(&b, &shape, SLOTS[i], (uint8_t *)code);
        for (int j = 0; j < 4; j++) CHECK_EQ(code[j], CODES[i][j]);
        CHECK(codec_decode(&codec, CODEC_CODED, (uint8_t *)code, unit));
        for (int j = 0; j < 4; j++) /* 1 - cos <= 1e-4: an angle of at most 0.0142 */
            CHECK_NEAR(unit[j] * b.norm[SLOTS[i]], VECTORS[i][j], 0.0142 * b.norm[SLOTS[i]]);
    }
    for (size_t i = 0; i < n; i++) {
        record[i] ^= 4;
        CHECK_EQ(block_decode(&b, &shape, 0, 7, record, n, plain, z, &err), ERR_CORRUPT);
        record[i] ^= 4;
    }
    compress_free(z);
}

/* All but the zstd frame, which another version of zstd may make otherwise, and what follows from it. */
TEST(a_block_is_written)
{
    struct error err;
    struct codec codec;
    struct block_shape shape;
    struct block_row rows[3];
    static float code[3][4];
    static uint8_t plain[1 << 21], record[1 << 21];
    load();
    CHECK_OK(codec_init(&codec, STORAGE_Q, 4, 1e-4f, &err), &err);
    CHECK_OK(block_shape_init(&shape, &codec, 0, &err), &err);
    struct compress *z = compress_new(&err);
    for (int i = 0; i < 3; i++) {
        rows[i] = (struct block_row){
            .slot = SLOTS[i], .check = check_of(i), .code = (uint8_t *)code[i]};
        rows[i].kind = codec_encode(&codec, VECTORS[i], (uint8_t *)code[i], &rows[i].norm, &err);
        CHECK(rows[i].kind >= 0);
    }
    CHECK(block_encode(&shape, 0, 7, rows, 3, plain, z, record, &err) > 0);
    CHECK(!memcmp(plain, examples[PLANES].bytes, 24));
    CHECK(!memcmp(record, examples[BLOCK].bytes, 36));
    CHECK(!memcmp(record + INDEX_AT, examples[BLOCK].bytes + INDEX_AT, 64 + 36));
    compress_free(z);
}

TEST_MAIN
