/* tokenizer_prune: a smaller SentencePiece model, made by leaving pieces out of the serialized
 * ModelProto.
 *
 * A ModelProto is a sequence of protobuf fields; field 1 (repeated) is a piece {1: text, 2: score,
 * 3: type}, the others are trainer settings, the character map and the like, kept byte for byte.
 * Self-test samples (field 4) are left out: they state the pieces of the whole vocabulary, and the
 * library would refuse the model. Unigram segmentation takes the best path, so a text all of whose
 * best pieces are kept is cut as before; single characters stay, so that nothing known becomes
 * unknown.
 */
#include "featurize/tokenizer.h"

#include <stdbool.h>
#include <string.h>

#include "store/memory.h"

enum { FIELD_PIECE = 1, FIELD_SELF_TEST = 4 };
enum { PIECE_TEXT = 1, PIECE_TYPE = 3 };
enum { TYPE_NORMAL = 1, TYPE_UNUSED = 5 };
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct cursor {
    const uint8_t *at, *end;
};

struct field {
    uint64_t number;
    const uint8_t *begin, *end; /* the whole field, tag included */
    const uint8_t *bytes;       /* WIRE_BYTES: contents */
    uint64_t n_bytes, value;    /* value: WIRE_VARINT */
};

static bool read_varint(struct cursor *c, uint64_t *x)
{
    *x = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (c->at == c->end) return false;
        uint8_t byte = *c->at++;
        *x |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return true;
    }
    return false;
}

static bool read_field(struct cursor *c, struct field *f)
{
    uint64_t tag, skip = 0;
    *f = (struct field){.begin = c->at};
    if (!read_varint(c, &tag)) return false;
    f->number = tag >> 3;
    switch (tag & 7) {
    case WIRE_VARINT:
        if (!read_varint(c, &f->value)) return false;
        break;
    case WIRE_FIXED64: skip = 8; break;
    case WIRE_FIXED32: skip = 4; break;
    case WIRE_BYTES:
        if (!read_varint(c, &skip)) return false;
        f->bytes = c->at;
        f->n_bytes = skip;
        break;
    default: return false;
    }
    if (skip > (uint64_t)(c->end - c->at)) return false;
    c->at += skip;
    f->end = c->at;
    return true;
}

static bool is_single_character(const uint8_t *text, uint64_t n)
{
    int characters = 0;
    for (uint64_t i = 0; i < n; i++) characters += (text[i] & 0xc0) != 0x80;
    return characters == 1;
}

/* Whether a piece stays although nobody asked for it; -1 when it is no piece. */
static int stays(const struct field *piece)
{
    struct cursor c = {piece->bytes, piece->bytes + piece->n_bytes};
    uint64_t type = TYPE_NORMAL;
    bool single = false;
    while (c.at < c.end) {
        struct field f;
        if (!read_field(&c, &f)) return -1;
        if (f.number == PIECE_TEXT && f.bytes) single = is_single_character(f.bytes, f.n_bytes);
        if (f.number == PIECE_TYPE && !f.bytes) type = f.value;
    }
    return single || (type != TYPE_NORMAL && type != TYPE_UNUSED);
}

/* Pieces are id - 1 but for the first three, whose ids are fixed. */
static void map_ids(const int32_t *old_piece, int n_pieces, int n_old_pieces, int32_t *old_of_new)
{
    for (int id = 0; id < 4; id++) old_of_new[id] = id;
    for (int i = 3; i < n_pieces; i++) old_of_new[i + 1] = old_piece[i] + 1;
    old_of_new[n_pieces + 1] = n_old_pieces + 1;
}

/* The kept fields -> out, the old numbers of kept pieces -> old_piece; returns how many pieces, or -1. */
static int copy_fields(const void *model, size_t n, const uint8_t *keep, int n_pieces, char *out,
                       size_t *n_out, int32_t *old_piece)
{
    struct cursor c = {model, (const uint8_t *)model + n};
    int piece = 0, n_kept = 0;
    *n_out = 0;
    while (c.at < c.end) {
        struct field f;
        if (!read_field(&c, &f)) return -1;
        bool copy = f.number != FIELD_SELF_TEST;
        if (f.number == FIELD_PIECE && f.bytes) {
            int stay = stays(&f);
            if (stay < 0 || piece >= n_pieces) return -1;
            copy = piece < 3 || stay || keep[piece];
            if (copy) old_piece[n_kept++] = piece;
            piece++;
        }
        if (!copy) continue;
        memcpy(out + *n_out, f.begin, (size_t)(f.end - f.begin));
        *n_out += (size_t)(f.end - f.begin);
    }
    return piece == n_pieces ? n_kept : -1;
}

int tokenizer_prune(const struct tokenizer *t, const uint8_t *keep, char **model, size_t *n_model,
                    int32_t **old_of_new, int *n_new, struct error *err)
{
    size_t n;
    const void *whole = tokenizer_model(t, &n);
    int rc = ERR_NOMEM, n_pieces = tokenizer_vocab(t) - 2;
    char *out = NULL;
    int32_t *old_piece = NULL, *map = NULL;
    struct tokenizer *check = NULL;
    out = memory_array(n, 1, MEMORY_MAX_FILE, err);
    old_piece = memory_array((uint64_t)n_pieces, sizeof *old_piece, MEMORY_MAX_FILE, err);
    map = memory_array((uint64_t)n_pieces + 2, sizeof *map, MEMORY_MAX_FILE, err);
    if (!out || !old_piece || !map) goto done;
    size_t n_out;
    int n_kept = copy_fields(whole, n, keep, n_pieces, out, &n_out, old_piece);
    if (n_kept < 0) {
        rc = error_set(
            err, ERR_DATA,
            "the SentencePiece model cannot be pruned: its pieces are not laid out as expected");
        goto done;
    }
    rc = tokenizer_new(out, n_out, "pruned SentencePiece model", &check, err);
    if (rc < 0) goto done;
    map_ids(old_piece, n_kept, n_pieces, map);
    *model = out;
    *n_model = n_out;
    *old_of_new = map;
    *n_new = n_kept + 2;
    out = NULL;
    map = NULL;
done:
    tokenizer_free(check);
    memory_free(out);
    memory_free(old_piece);
    memory_free(map);
    return rc;
}
