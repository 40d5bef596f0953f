/* The machine whose program a pickle is: opcodes, stack, memo; see pickle.h. */
#include <stdbool.h>
#include <string.h>

#include "featurize/pickle_inside.h"
#include "store/bytes.h"
#include "store/memory.h"

#define MAX_BYTES ((size_t)16 << 20) /* of a pickle */
#define MAX_STACK (1 << 18)
#define MAX_MEMO  (1 << 20)
#define MARK      (-1) /* on the stack */
#define NO_VALUE  (-2) /* in the memo */

/* The reading of one pickle. */
struct machine {
    struct pickle *p;
    const char *where;
    const uint8_t *begin;
    struct bytes_reader r;
    const struct pickle_global *globals;
    int n_globals;
    int32_t *stack, *memo;
    size_t n_stack, stack_capacity, n_memo, memo_capacity;
    struct error *err;
};

static int refuse(struct machine *m, const char *what)
{
    return error_set(m->err, ERR_DATA, "%s: byte %lld of the pickle: %s", m->where,
                     (long long)(m->r.p - m->begin), what);
}

/* The place, before what pickle.c has refused. */
static int placed(struct machine *m, int rc)
{
    if (rc == ERR_DATA)
        error_prefix(m->err, "%s: byte %lld of the pickle: ", m->where,
                     (long long)(m->r.p - m->begin));
    return rc;
}

static int push(struct machine *m, int32_t value)
{
    if (m->n_stack >= MAX_STACK) return refuse(m, "too deep a stack");
    int rc = memory_grow(&m->stack, &m->stack_capacity, m->n_stack + 1, sizeof *m->stack,
                         MEMORY_MAX_SMALL, m->err);
    if (rc == 0) m->stack[m->n_stack++] = value;
    return rc;
}

/* A value of the stack, `back` from its end, or -1. */
static int32_t peek(const struct machine *m, size_t back)
{
    return back < m->n_stack ? m->stack[m->n_stack - 1 - back] : MARK;
}

/* A new value on the stack. */
static int push_new(struct machine *m, const struct pickle_value *v)
{
    int32_t value = pickle_add(m->p, v, m->err);
    return value < 0 ? placed(m, value) : push(m, value);
}

static int push_number(struct machine *m, enum pickle_kind kind, int64_t number)
{
    return push_new(m, &(struct pickle_value){.kind = kind, .number = number});
}

static int add_item(struct machine *m, int32_t to, int32_t item)
{
    return placed(m, pickle_add_item(m->p, to, item, m->err));
}

/* Where the values above the topmost mark begin; the mark is below. */
static int above_mark(struct machine *m, size_t *first)
{
    for (*first = m->n_stack; *first > 0; --*first)
        if (m->stack[*first - 1] == MARK) return 0;
    return refuse(m, "items without a mark");
}

/* A tuple of the values from `first` on, which leave the stack down to `keep`. */
static int make_tuple(struct machine *m, size_t first, size_t keep)
{
    size_t end = m->n_stack;
    int rc = push_number(m, PICKLE_TUPLE, 0);
    int32_t tuple = rc == 0 ? m->stack[m->n_stack - 1] : 0;
    for (size_t i = first; i < end && rc == 0; i++)
        rc = m->stack[i] == MARK ? refuse(m, "a mark in a tuple") : add_item(m, tuple, m->stack[i]);
    m->n_stack = keep;
    return rc < 0 ? rc : push(m, tuple);
}

/* Adds the values from `first` on to the one below `keep`, and takes all above that away. */
static int extend(struct machine *m, size_t first, size_t keep, bool is_dict)
{
    int32_t to = keep > 0 ? m->stack[keep - 1] : MARK;
    if (to == MARK) return refuse(m, "items for nothing");
    enum pickle_kind kind = m->p->values[to].kind;
    if (is_dict ? kind != PICKLE_DICT && kind != PICKLE_CALL : kind != PICKLE_LIST)
        return refuse(m, "items for what takes none");
    if (is_dict && (m->n_stack - first) % 2) return refuse(m, "a key without a value");
    int rc = 0;
    for (size_t i = first; i < m->n_stack && rc == 0; i++)
        rc = m->stack[i] == MARK ? refuse(m, "a mark among items") : add_item(m, to, m->stack[i]);
    m->n_stack = keep;
    return rc;
}

static int push_text(struct machine *m, uint64_t n)
{
    const uint8_t *bytes = bytes_take(&m->r, n);
    if (!bytes) return refuse(m, "a text beyond the end"); /* or its length is */
    if (memchr(bytes, 0, n)) return refuse(m, "a NUL in a text");
    int32_t value = pickle_add_text(m->p, bytes, n, m->err);
    return value < 0 ? placed(m, value) : push(m, value);
}

static int push_long(struct machine *m)
{
    size_t n = bytes_u8(&m->r);
    const uint8_t *bytes = bytes_take(&m->r, n);
    if (!bytes || n > 8) return refuse(m, "an integer of more than 64 bits");
    uint64_t x = n && bytes[n - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = n; i > 0; i--) x = x << 8 | bytes[i - 1];
    return push_number(m, PICKLE_INT, (int64_t)x);
}

static int push_float(struct machine *m)
{
    struct pickle_value v = {.kind = PICKLE_FLOAT};
    uint64_t bits = bytes_key_u64(&m->r);
    memcpy(&v.real, &bits, sizeof bits);
    return push_new(m, &v);
}

static int push_global(struct machine *m, const char *module, size_t n_module, const char *name,
                       size_t n_name)
{
    for (int i = 0; i < m->n_globals; i++)
        if (strlen(m->globals[i].module) == n_module && strlen(m->globals[i].name) == n_name &&
            !memcmp(m->globals[i].module, module, n_module) &&
            !memcmp(m->globals[i].name, name, n_name))
            return push_number(m, PICKLE_GLOBAL, i);
    return error_set(m->err, ERR_DATA,
                     "%s: byte %lld of the pickle names %.*s.%.*s, which is no part of plain "
                     "weights: it is not called; save the model again, as safetensors",
                     m->where, (long long)(m->r.p - m->begin), (int)(n_module < 80 ? n_module : 80),
                     module, (int)(n_name < 80 ? n_name : 80), name);
}

/* "module\nname\n" in the pickle itself. */
static int read_global(struct machine *m)
{
    const uint8_t *at[3] = {m->r.p};
    for (int i = 0; i < 2; i++) {
        const uint8_t *end = memchr(m->r.p, '\n', bytes_left(&m->r));
        if (!end) return refuse(m, "the name of a global without its end");
        m->r.p = at[i + 1] = end + 1;
    }
    return push_global(m, (const char *)at[0], (size_t)(at[1] - at[0]) - 1, (const char *)at[1],
                       (size_t)(at[2] - at[1]) - 1);
}

static const struct pickle_value *value_of(const struct machine *m, int32_t i)
{
    return i < 0 ? NULL : &m->p->values[i];
}

/* Module and name as texts on the stack. */
static int stack_global(struct machine *m)
{
    const struct pickle_value *name = value_of(m, peek(m, 0)), *module = value_of(m, peek(m, 1));
    if (!name || !module || name->kind != PICKLE_TEXT || module->kind != PICKLE_TEXT)
        return refuse(m, "a global whose name is no text");
    m->n_stack -= 2;
    return push_global(m, module->text, module->n_text, name->text, name->n_text);
}

static int reduce(struct machine *m)
{
    int32_t arguments = peek(m, 0);
    const struct pickle_value *a = value_of(m, arguments), *f = value_of(m, peek(m, 1));
    if (!a || !f || a->kind != PICKLE_TUPLE || f->kind != PICKLE_GLOBAL)
        return refuse(m, "a call of what is no function");
    struct pickle_value call = {.kind = PICKLE_CALL, .number = f->number, .argument = arguments};
    m->n_stack -= 2;
    return push_new(m, &call);
}

static int persistent(struct machine *m)
{
    int32_t identity = peek(m, 0);
    if (identity < 0) return refuse(m, "an outside object without identity");
    m->n_stack--;
    return push_new(m, &(struct pickle_value){.kind = PICKLE_PERSISTENT, .argument = identity});
}

/* The state of an object (a dictionary's attributes) says nothing about weights. */
static int build(struct machine *m)
{
    const struct pickle_value *v = value_of(m, peek(m, 1));
    if (peek(m, 0) < 0 || !v || v->kind != PICKLE_CALL)
        return refuse(m, "a state for what takes none");
    m->n_stack--;
    return 0;
}

static int put(struct machine *m, uint32_t slot)
{
    int32_t value = peek(m, 0);
    if (value < 0) return refuse(m, "nothing to memorise");
    if (slot >= MAX_MEMO) return refuse(m, "too high a place in the memo");
    int rc = memory_grow(&m->memo, &m->memo_capacity, (uint64_t)slot + 1, sizeof *m->memo,
                         MEMORY_MAX_SMALL, m->err);
    if (rc < 0) return rc;
    while (m->n_memo <= slot) m->memo[m->n_memo++] = NO_VALUE;
    m->memo[slot] = value;
    return 0;
}

static int get(struct machine *m, uint32_t slot)
{
    if (slot >= m->n_memo || m->memo[slot] == NO_VALUE)
        return refuse(m, "a place in the memo that is empty");
    return push(m, m->memo[slot]);
}

static int refuse_opcode(struct machine *m, uint8_t opcode)
{
    static const struct {
        uint8_t opcode;
        const char *name;
    } known[] = {{'i', "INST"},        {'o', "OBJ"},          {0x81, "NEWOBJ"},
                 {0x92, "NEWOBJ_EX"},  {'P', "PERSID"},       {0x82, "EXT1"},
                 {0x83, "EXT2"},       {0x84, "EXT4"},        {'0', "POP"},
                 {'1', "POP_MARK"},    {'2', "DUP"},          {'I', "INT"},
                 {'L', "LONG"},        {'F', "FLOAT"},        {'S', "STRING"},
                 {'V', "UNICODE"},     {'B', "BINBYTES"},     {'C', "SHORT_BINBYTES"},
                 {0x8e, "BINBYTES8"},  {0x8b, "LONG4"},       {0x8f, "EMPTY_SET"},
                 {0x90, "ADDITEMS"},   {0x91, "FROZENSET"},   {'d', "DICT"},
                 {'l', "LIST"},        {'p', "PUT"},          {'g', "GET"},
                 {0x96, "BYTEARRAY8"}, {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"}};
    const char *name = "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].opcode == opcode) name = known[i].name;
    return error_set(m->err, ERR_DATA,
                     "%s: byte %lld of the pickle: opcode 0x%02x%s%s is no part of plain weights: "
                     "it is not executed; save the model again, as safetensors",
                     m->where, (long long)(m->r.p - m->begin) - 1, opcode, *name ? " " : "", name);
}

/* Opcodes that gather what lies on the stack. */
static int gather(struct machine *m, uint8_t opcode)
{
    size_t first = m->n_stack;
    switch (opcode) {
    case '(': return push(m, MARK);
    case 0x85:
    case 0x86:
    case 0x87: /* TUPLE1, TUPLE2, TUPLE3 */
        if (m->n_stack < opcode - 0x84u) return refuse(m, "a tuple of nothing");
        return make_tuple(m, m->n_stack - (opcode - 0x84u), m->n_stack - (opcode - 0x84u));
    case 'a': /* APPEND */
    case 's': /* SETITEM */
        first = opcode == 'a' ? 1 : 2;
        if (m->n_stack < first) return refuse(m, "items for nothing");
        return extend(m, m->n_stack - first, m->n_stack - first, opcode == 's');
    default: break;
    }
    int rc = above_mark(m, &first);
    if (rc < 0) return rc;
    if (opcode == 't') return make_tuple(m, first, first - 1);
    return extend(m, first, first - 1, opcode == 'u'); /* SETITEMS, APPENDS */
}

static int step(struct machine *m, uint8_t opcode)
{
    struct bytes_reader *r = &m->r;
    switch (opcode) {
    case 0x80: /* PROTO */
        return bytes_u8(r) - 2u <= 3 ? 0 : refuse(m, "a protocol other than 2 to 5");
    case 0x95: bytes_u64(r); return 0; /* FRAME */
    case 'N': return push_number(m, PICKLE_NONE, 0);
    case 0x88: return push_number(m, PICKLE_BOOL, 1);
    case 0x89: return push_number(m, PICKLE_BOOL, 0);
    case 'J': return push_number(m, PICKLE_INT, (int32_t)bytes_u32(r)); /* BININT */
    case 'K': return push_number(m, PICKLE_INT, bytes_u8(r));
    case 'M': return push_number(m, PICKLE_INT, bytes_u16(r));
    case 0x8a: return push_long(m);              /* LONG1 */
    case 'G': return push_float(m);              /* BINFLOAT */
    case 'X': return push_text(m, bytes_u32(r)); /* BINUNICODE */
    case 'T': return push_text(m, bytes_u32(r)); /* BINSTRING */
    case 'U': return push_text(m, bytes_u8(r));
    case 0x8c: return push_text(m, bytes_u8(r));  /* SHORT_BINUNICODE */
    case 0x8d: return push_text(m, bytes_u64(r)); /* BINUNICODE8 */
    case '}': return push_number(m, PICKLE_DICT, 0);
    case ']': return push_number(m, PICKLE_LIST, 0);
    case ')': return push_number(m, PICKLE_TUPLE, 0);
    case 'c': return read_global(m);
    case 0x93: return stack_global(m);
    case 'R': return reduce(m);
    case 'Q': return persistent(m); /* BINPERSID */
    case 'b': return build(m);
    case 'q': return put(m, bytes_u8(r));
    case 'r': return put(m, bytes_u32(r));
    case 0x94: return put(m, (uint32_t)m->n_memo); /* MEMOIZE */
    case 'h': return get(m, bytes_u8(r));
    case 'j': return get(m, bytes_u32(r));
    case '(':
    case 't':
    case 0x85:
    case 0x86:
    case 0x87:
    case 'a':
    case 'e':
    case 's':
    case 'u': return gather(m, opcode);
    default: return refuse_opcode(m, opcode);
    }
}

static int run(struct machine *m)
{
    for (;;) {
        if (bytes_left(&m->r) == 0) return refuse(m, "the pickle ends without STOP");
        uint8_t opcode = bytes_u8(&m->r);
        if (opcode == '.') break;
        int rc = step(m, opcode);
        if (rc < 0) return rc;
        if (m->r.failed) return refuse(m, "the pickle ends in an opcode");
    }
    if (m->n_stack != 1 || m->stack[0] == MARK)
        return refuse(m, "a pickle of more or less than one value");
    m->p->root = m->stack[0];
    return 0;
}

int pickle_read(const void *bytes, size_t n, const char *where, const struct pickle_global *globals,
                int n_globals, struct pickle **out, struct error *err)
{
    struct machine m = {.where = where,
                        .begin = bytes,
                        .r = bytes_reader(bytes, n),
                        .globals = globals,
                        .n_globals = n_globals,
                        .err = err};
    *out = NULL;
    if (n > MAX_BYTES) return refuse(&m, "a pickle too large for plain weights");
    /* a text takes at least one byte more in the pickle than its length: room for the NULs */
    if (!(m.p = pickle_new(n, err))) return ERR_NOMEM;
    int rc = run(&m);
    memory_free(m.stack);
    memory_free(m.memo);
    if (rc < 0)
        pickle_close(m.p);
    else
        *out = m.p;
    return rc;
}
