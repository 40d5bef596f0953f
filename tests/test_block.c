/* Blocks: what goes in comes out, any flipped bit is refused, and a record that lies about itself under a
 * valid checksum (as a hostile one would) is refused as well, without reading or writing out of bounds. */
#include "store/block.h"

#include "store/checksum.h"
#include "store/digest.h"
#include "store/memory.h"
#include "tests/check.h"

static uint64_t state = 99;

static uint32_t next(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

struct fixture {
    struct block_shape shape;
    struct compress *z;
    uint8_t *plain, *record, *codes; // codes: (n_slots, capacity)
    struct block_row rows[BLOCK_MAX_SLOTS];
    uint32_t n_rows;
    int64_t n;
};

/* Fills every slot that `keep` percent chance leaves in; slot 3 is the zero vector, slot 5 is raw when q. */
static bool set_up(struct fixture *f, enum codec_storage storage, uint32_t dim, uint32_t grid,
                   uint32_t keep)
{
    struct error err;
    struct codec codec;
    memset(f, 0, sizeof *f);
    if (codec_init(&codec, storage, dim, storage == STORAGE_Q ? 1e-4f : 0, &err) < 0 ||
        block_shape_init(&f->shape, &codec, grid, &err) < 0)
        return false;
    f->z = compress_new(&err);
    f->plain = memory_array(block_plain_capacity(&f->shape), 1, MEMORY_MAX_FILE, &err);
    f->record = memory_array(block_record_capacity(&f->shape), 1, MEMORY_MAX_FILE, &err);
    f->codes = memory_array(f->shape.n_slots, codec_capacity(&codec), MEMORY_MAX_FILE, &err);
    float *x = memory_array(dim, sizeof *x, MEMORY_MAX_FILE, &err);
    if (!f->z || !f->plain || !f->record || !f->codes || !x) return false;
    for (uint32_t slot = 0; slot < f->shape.n_slots; slot++) {
        if (f->shape.n_slots > 1 && next() % 100 >= keep) continue;
        for (uint32_t j = 0; j < dim; j++)
            x[j] = slot == 3 ? 0 : (float)(next() % 2001) - 1000 + (j % 61 == 7 ? 9000.f : 0.f);
        struct block_row *row = &f->rows[f->n_rows++];
        uint8_t *code = f->codes + slot * codec_capacity(&codec);
        *row = (struct block_row){.slot = slot, .check = next() * 0x100000001u, .code = code};
        row->kind = codec_encode(&codec, x, code, &row->norm, &err);
        if (slot == 5 && storage == STORAGE_Q) {
            row->kind = CODEC_RAW;
            memcpy(code, x, (size_t)dim * 4);
        }
    }
    memory_free(x);
    f->n = block_encode(&f->shape, 2, 7, f->rows, f->n_rows, f->plain, f->z, f->record, &err);
    return f->n > 0 && (uint64_t)f->n <= block_record_capacity(&f->shape);
}

static void tear_down(struct fixture *f)
{
    compress_free(f->z);
    memory_free(f->plain);
    memory_free(f->record);
    memory_free(f->codes);
}

static int decode(struct fixture *f, struct block *b, const uint8_t *record, size_t n,
                  struct error *err)
{
    return block_decode(b, &f->shape, 2, 7, record, n, f->plain, f->z, err);
}

/* All codes of a kind at once are the codes one by one. */
static void check_codes(const struct fixture *f, const struct block *b, enum codec_kind kind)
{
    struct error err;
    size_t width = codec_bytes(&f->shape.codec, kind);
    uint8_t *all = memory_array(f->shape.n_slots, codec_capacity(&f->shape.codec), MEMORY_MAX_FILE,
                                &err);
    uint8_t *one = memory_array(codec_capacity(&f->shape.codec), 1, MEMORY_MAX_FILE, &err);
    block_codes(b, &f->shape, kind, all);
    for (uint32_t slot = 0; slot < f->shape.n_slots; slot++) {
        if (b->kind[slot] != kind) continue;
        block_code(b, &f->shape, slot, one);
        CHECK(!memcmp(one, all + b->rank[slot] * width, width));
    }
    memory_free(all);
    memory_free(one);
}

static void check_round_trip(enum codec_storage storage, uint32_t dim, uint32_t grid, uint32_t keep)
{
    struct fixture f;
    struct error err;
    struct block b;
    CHECK(set_up(&f, storage, dim, grid, keep));
    CHECK_OK(decode(&f, &b, f.record, (size_t)f.n, &err), &err);
    CHECK_EQ(b.n_present, f.n_rows);
    uint8_t *code = memory_array(codec_capacity(&f.shape.codec), 1, MEMORY_MAX_FILE, &err);
    uint32_t i = 0;
    for (uint32_t slot = 0; slot < BLOCK_MAX_SLOTS; slot++) {
        if (i == f.n_rows || f.rows[i].slot != slot) {
            CHECK_EQ(b.kind[slot], BLOCK_ABSENT);
            continue;
        }
        CHECK_EQ(b.kind[slot], f.rows[i].kind);
        CHECK(b.check[slot] == f.rows[i].check && b.norm[slot] == f.rows[i].norm);
        block_code(&b, &f.shape, slot, code);
        CHECK(!memcmp(code, f.rows[i].code, codec_bytes(&f.shape.codec, f.rows[i].kind)));
        i++;
    }
    memory_free(code);
    check_codes(&f, &b, CODEC_CODED);
    check_codes(&f, &b, CODEC_RAW);
    tear_down(&f);
}

TEST(blocks_round_trip)
{
    for (enum codec_storage s = STORAGE_F32; s <= STORAGE_BF16; s++) {
        check_round_trip(s, 96, 0, 100);
        check_round_trip(s, 1024, 0, 40);
        check_round_trip(s, 1024 * 16, 4, 70);
        check_round_trip(s, 1, 0, 90);
        check_round_trip(s, CODEC_MAX_DIM / 4 + 1, 0, 100);
    }
}

TEST(slots_fill_a_mebibyte)
{
    static const uint32_t WANT[][2] = {{1, 256},    {1024, 256}, {1025, 128},
                                       {16384, 16}, {262144, 1}, {1048576, 1}};
    struct error err;
    for (size_t i = 0; i < sizeof WANT / sizeof *WANT; i++) {
        struct codec c;
        struct block_shape s;
        CHECK_OK(codec_init(&c, STORAGE_F32, WANT[i][0], 0, &err), &err);
        CHECK_OK(block_shape_init(&s, &c, 0, &err), &err);
        CHECK_EQ(s.n_slots, WANT[i][1]);
    }
    struct codec c;
    struct block_shape s;
    CHECK_OK(codec_init(&c, STORAGE_F32, 100, 0, &err), &err);
    CHECK_EQ(block_shape_init(&s, &c, 3, &err), ERR_USAGE);
}

TEST(the_record_is_a_pure_function_of_its_rows)
{
    struct fixture f;
    struct error err;
    CHECK(set_up(&f, STORAGE_Q, 96, 0, 60));
    uint8_t *again = memory_array(block_record_capacity(&f.shape), 1, MEMORY_MAX_FILE, &err);
    memset(f.plain, 0xcc, block_plain_capacity(&f.shape));
    memset(again, 0xcc, block_record_capacity(&f.shape));
    int64_t n = block_encode(&f.shape, 2, 7, f.rows, f.n_rows, f.plain, f.z, again, &err);
    CHECK_EQ(n, f.n);
    CHECK(!memcmp(again, f.record, (size_t)f.n));
    memory_free(again);
    tear_down(&f);
}

static void make_version_1(struct fixture *f)
{
    f->record[4] = 1;
    uint64_t checksum = digest_short(f->record, (size_t)f->n - 8);
    memcpy(f->record + f->n - 8, &checksum, 8);
}

static void check_flips(int version)
{
    struct fixture f;
    struct error err;
    struct block b;
    CHECK(set_up(&f, STORAGE_Q, 24, 0, 5));
    if (version == 1) make_version_1(&f);
    CHECK_EQ(f.record[4], version);
    for (int64_t i = 0; i < f.n * 8; i++) {
        f.record[i / 8] ^= (uint8_t)(1 << i % 8);
        if (decode(&f, &b, f.record, (size_t)f.n, &err) != ERR_CORRUPT)
            CHECK_FAIL("bit %lld of byte %lld may flip unseen", (long long)i % 8, (long long)i / 8);
        f.record[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    for (int64_t n = 0; n < f.n; n++)
        CHECK_EQ(decode(&f, &b, f.record, (size_t)n, &err), ERR_CORRUPT);
    CHECK_OK(decode(&f, &b, f.record, (size_t)f.n, &err), &err);
    CHECK_EQ(block_decode(&b, &f.shape, 1, 7, f.record, (size_t)f.n, f.plain, f.z, &err),
             ERR_CORRUPT);
    CHECK_EQ(block_decode(&b, &f.shape, 2, 6, f.record, (size_t)f.n, f.plain, f.z, &err),
             ERR_CORRUPT);
    tear_down(&f);
}

TEST(every_flipped_bit_and_every_cut_is_refused)
{
    check_flips(BLOCK_VERSION);
    check_flips(1);
}

static void seal(uint8_t *record, int64_t n)
{
    uint64_t checksum = checksum_of(record, (size_t)n - 8);
    memcpy(record + n - 8, &checksum, 8);
}

/* Each byte in turn set to hostile values under a valid checksum: decoding may accept other
 * contents (a key, a norm, a code), but must stay within its buffers (seen by the sanitizer build)
 * and keep its counts in step. */
TEST(lies_under_a_valid_checksum_are_contained)
{
    static const uint8_t VALUES[] = {0, 1, 0x7f, 0x80, 0xff};
    struct fixture f;
    struct error err;
    struct block b;
    CHECK(set_up(&f, STORAGE_Q, 24, 0, 10));
    uint8_t *copy = memory_array((uint64_t)f.n, 1, MEMORY_MAX_FILE, &err);
    uint8_t *code = memory_array(codec_capacity(&f.shape.codec), 1, MEMORY_MAX_FILE, &err);
    for (int64_t i = 0; i < f.n - 8; i++)
        for (size_t v = 0; v < sizeof VALUES; v++) {
            memcpy(copy, f.record, (size_t)f.n);
            if (copy[i] == VALUES[v]) continue;
            copy[i] = VALUES[v];
            seal(copy, f.n);
            int rc = decode(&f, &b, copy, (size_t)f.n, &err);
            if (i < 40 && rc == 0)
                CHECK_FAIL("byte %lld of the header may be %u", (long long)i, VALUES[v]);
            if (rc < 0) continue;
            CHECK_EQ(b.n_present, f.n_rows);
            for (uint32_t slot = 0; slot < BLOCK_MAX_SLOTS; slot++)
                if (b.kind[slot] != BLOCK_ABSENT) block_code(&b, &f.shape, slot, code);
        }
    memory_free(copy);
    memory_free(code);
    tear_down(&f);
}

static void expect_refusal(struct fixture *f, int code, const char *word)
{
    struct error err;
    struct block b;
    seal(f->record, f->n);
    CHECK_EQ(decode(f, &b, f->record, (size_t)f->n, &err), code);
    CHECK_HAS(err.text, word);
}

TEST(refusals_name_their_reason)
{
    struct fixture f;
    state = 3; /* slot 3, the zero vector, is there */
    CHECK(set_up(&f, STORAGE_Q, 24, 0, 50));
    CHECK(f.record[30] == 1);
    f.record[4] = BLOCK_VERSION + 1;
    expect_refusal(&f, ERR_INCOMPATIBLE, "version 3");
    f.record[4] = 0;
    expect_refusal(&f, ERR_INCOMPATIBLE, "version 0");
    f.record[4] = BLOCK_VERSION;
    f.record[26]++;
    expect_refusal(&f, ERR_CORRUPT, "plane bytes");
    f.record[26]--;
    f.record[28]++;
    f.record[30]--;
    expect_refusal(&f, ERR_CORRUPT, "plane bytes");
    f.record[28]--;
    f.record[30]++;
    f.record[40] ^= 1; /* slot 0 appears or goes: the popcount is off by one */
    expect_refusal(&f, ERR_CORRUPT, "bitmaps");
    f.record[40] ^= 1;
    float nan = NAN, old;
    uint8_t *norm = f.record + 40 + 64 + 8 * f.n_rows;
    memcpy(&old, norm, 4);
    memcpy(norm, &nan, 4);
    expect_refusal(&f, ERR_CORRUPT, "norm");
    memcpy(norm, &old, 4);
    f.record[f.n - 10] ^= 0x55;
    f.record[40 + 64 + 12 * f.n_rows] ^= 0xff; /* the zstd frame's magic */
    expect_refusal(&f, ERR_CORRUPT, "zstd");
    tear_down(&f);
}

TEST_MAIN
