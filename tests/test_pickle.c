/* Pickles as data: every opcode that is known, those that are not, globals outside of the list, and
 * what a hostile pickle may try with stack, memo and marks.
 *
 * covers: pickle_machine
 */
#include "featurize/pickle.h"
#include "store/memory.h"
#include "tests/check.h"

#include <stdlib.h>

static const struct pickle_global GLOBALS[] = {{"collections", "OrderedDict"}, {"torch", "X"}};

static struct pickle *parse(const char *bytes, size_t n)
{
    struct error err = {0};
    struct pickle *p;
    if (pickle_read(bytes, n, "p", GLOBALS, 2, &p, &err) == 0) return p;
    printf("# cannot go on: %s\n", err.text);
    exit(1);
}

static void refused(const char *bytes, size_t n, const char *says)
{
    struct error err = {0};
    struct pickle *p;
    CHECK_EQ(pickle_read(bytes, n, "p", GLOBALS, 2, &p, &err), ERR_DATA);
    CHECK(!p);
    CHECK_HAS(err.text, says);
    CHECK_HAS(err.text, "p: ");
}

#define PARSE(literal)         parse(literal, sizeof literal - 1)
#define REFUSED(literal, says) refused(literal, sizeof literal - 1, says)

TEST(numbers_and_texts)
{
    struct pickle *p = PARSE("\x80\x02]("
                             "NK\xff"
                             "M\x01\x02"
                             "J\xfe\xff\xff\xff"
                             "\x88\x89"
                             "\x8a\x00\x8a\x03\x01\x02\x80"
                             "G\x3f\xf8\0\0\0\0\0\0"
                             "X\x03\0\0\0abc"
                             "U\x00\x8c\x02xy"
                             "\x8d\x01\0\0\0\0\0\0\0z"
                             "T\x01\0\0\0t"
                             "e.");
    const struct pickle_value *v = pickle_root(p);
    CHECK_EQ(v->kind, PICKLE_LIST);
    CHECK_EQ(v->n_items, 14);
    static const int64_t numbers[] = {0, 255, 513, -2, 1, 0, 0, 1 + 2 * 256 - 128 * 65536};
    for (int i = 0; i < 8; i++) CHECK_EQ(pickle_nth(p, v, i)->number, numbers[i]);
    CHECK_EQ(pickle_nth(p, v, 0)->kind, PICKLE_NONE);
    CHECK_EQ(pickle_nth(p, v, 4)->kind, PICKLE_BOOL);
    CHECK(pickle_nth(p, v, 8)->real == 1.5);
    static const char *const texts[] = {"abc", "", "xy", "z", "t"};
    for (int i = 0; i < 5; i++) CHECK_STR(pickle_nth(p, v, 9 + i)->text, texts[i]);
    CHECK(!pickle_nth(p, v, 14) && !pickle_nth(p, v, -1));
    pickle_close(p);
}

TEST(containers_memo_and_calls)
{
    struct pickle *p = PARSE("\x80\x04\x95\x10\0\0\0\0\0\0\0"
                             "}q\x00(K\x01K\x02" /* {1: 2, */
                             "X\x01\0\0\0a)u"    /* "a": ()} */
                             "K\x03"
                             "\x8c\x0b"
                             "collections\x94\x8c\x0bOrderedDict\x93)Rr\x05\0\0\0"
                             "K\x07K\x08s}b" /* {3: OrderedDict() with 7: 8 and a state} */
                             "s"
                             "K\x04K\x05K\x06\x86Qs" /* {4: the outside object (5, 6)} */
                             "K\x09"
                             "ctorch\nX\n(K\x01K\x02tRs"
                             "X\x01\0\0\0mj\x05\0\0\0s"
                             "X\x01\0\0\0n]h\x00"
                             "as" /* a list that holds what holds it */
                             ".");
    const struct pickle_value *v = pickle_root(p);
    CHECK_EQ(v->kind, PICKLE_DICT);
    CHECK_EQ(v->n_items, 14);
    CHECK_EQ(pickle_nth(p, v, 3)->kind, PICKLE_TUPLE);
    CHECK_EQ(pickle_nth(p, v, 3)->n_items, 0);
    const struct pickle_value *call = pickle_nth(p, v, 5);
    CHECK_EQ(call->kind, PICKLE_CALL);
    CHECK_EQ(call->number, 0);
    CHECK_EQ(call->n_items, 2);
    CHECK_EQ(pickle_item(p, pickle_next(p, call->first))->number, 8);
    const struct pickle_value *outside = pickle_nth(p, v, 7);
    CHECK_EQ(outside->kind, PICKLE_PERSISTENT);
    CHECK_EQ(pickle_nth(p, pickle_at(p, outside->argument), 1)->number, 6);
    const struct pickle_value *x = pickle_nth(p, v, 9);
    CHECK_EQ(x->number, 1);
    CHECK_EQ(pickle_at(p, x->argument)->n_items, 2);
    CHECK(pickle_nth(p, v, 11) == call); /* the memo gives the same object */
    CHECK(pickle_nth(p, pickle_nth(p, v, 13), 0) == v);
    pickle_close(p);
}

TEST(what_could_run_something_is_refused_by_name)
{
    REFUSED("\x80\x02"
            "cposix\nsystem\n(X\x02\0\0\0lstR.",
            "names posix.system, which is no part");
    REFUSED("\x80\x02"
            "ccollections\nOrderedDictX\n)R.",
            "names collections.OrderedDictX");
    REFUSED("\x80\x02"
            "c__builtin__\neval\n.",
            "names __builtin__.eval");
    REFUSED("\x80\x04\x8c\x02os\x8c\x06system\x93.", "names os.system");
    REFUSED("\x80\x02(X\x02\0\0\0lsios\nsystem\n.", "opcode 0x69 INST is no part");
    REFUSED("\x80\x02"
            "ctorch\nX\n)\x81.",
            "opcode 0x81 NEWOBJ is no part");
    REFUSED("\x80\x02(ctorch\nX\no.", "0x6f OBJ");
    REFUSED("\x80\x02\x82\x01.", "0x82 EXT1");
    REFUSED("\x80\x04)}\x92.", "0x92 NEWOBJ_EX");
    REFUSED("\x80\x02Pid\n.", "0x50 PERSID");
    REFUSED("\x80\x02\xfe.", "opcode 0xfe is no part");
    REFUSED("\x80\x02I1\n.", "0x49 INT");
    REFUSED("\x80\x06N.", "a protocol other than 2 to 5");
    REFUSED("\x80\x02(N)R.", "a call of what is no function");
    REFUSED("\x80\x02"
            "ctorch\nX\nNR.",
            "a call of what is no function");
    REFUSED("\x80\x02)R.", "a call of what is no function");
    REFUSED("\x80\x04KK\x93.", "a global whose name is no text");
}

TEST(stack_memo_and_ends_are_held)
{
    refused("", 0, "ends without STOP");
    REFUSED("\x80\x02", "ends without STOP");
    REFUSED("\x80\x02.", "more or less than one value");
    REFUSED("\x80\x02NN.", "more or less than one value");
    REFUSED("\x80\x02(.", "more or less than one value");
    REFUSED("t.", "items without a mark");
    REFUSED("Ne.", "items without a mark");
    REFUSED("(Ne.", "items for nothing");
    REFUSED("\x85.", "a tuple of nothing");
    REFUSED("(\x85.", "a mark in a tuple");
    REFUSED("Na.", "items for nothing");
    REFUSED("NNa.", "items for what takes none");
    REFUSED("}Na.", "items for what takes none");
    REFUSED("](Nu.", "items for what takes none");
    REFUSED("}(Nu.", "a key without a value");
    REFUSED("}(Ns.", "a mark among items");
    REFUSED("q\0.", "nothing to memorise");
    REFUSED("(q\0.", "nothing to memorise");
    REFUSED("h\0.", "a place in the memo that is empty");
    REFUSED("Nr\xff\xff\xff\x7f.", "too high a place in the memo");
    REFUSED("Nr\0\x01\0\0j\xff\0\0\0.", "a place in the memo that is empty");
    REFUSED("Q.", "an outside object without identity");
    REFUSED("N}b.", "a state for what takes none");
    REFUSED("X\xff\xff\xff\x7f"
            "a.",
            "a text beyond the end");
    REFUSED("X\0u.", "a text beyond the end");
    REFUSED("X\x03\0\0\0a\0b.", "a NUL in a text");
    REFUSED("\x8a\x09"
            "123456789.",
            "more than 64 bits");
    REFUSED("\x8a\x05"
            "1",
            "more than 64 bits");
    REFUSED("J\x01", "ends in an opcode");
    REFUSED("ctorch\nX", "the name of a global without its end");
}

/* Pickles of one opcode over and over: bounded, refused, and quick. */
TEST(limits_hold)
{
    struct error err = {0};
    static char many[17 << 20];
    static const struct {
        char fill;
        size_t n;
        const char *says;
    } cases[] = {{'(', 1 << 20, "too deep a stack"},
                 {'N', 1 << 20, "too deep a stack"},
                 {'N', sizeof many, "a pickle too large"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(many, cases[i].fill, cases[i].n);
        refused(many, cases[i].n, cases[i].says);
    }
    many[0] = ']';
    for (size_t i = 1; i + 1 < 4 << 20; i += 2) memcpy(many + i, "Na", 2);
    refused(many, 4 << 20, "too many values");
    many[0] = ']';
    memcpy(many + 1, "Nq\0a", 4); /* one value from the memo, many times */
    for (size_t i = 5; i + 2 < 12 << 20; i += 3) memcpy(many + i, "h\0a", 3);
    refused(many, 12 << 20, "too many items");
    for (long nth = 1; nth < 8; nth++) {
        struct pickle *p;
        memory_fail_at(nth);
        int rc = pickle_read("\x80\x02]Nq\0a.", 8, "p", GLOBALS, 2, &p, &err);
        memory_fail_at(0);
        CHECK(rc == 0 || (rc == ERR_NOMEM && !p));
        pickle_close(p);
    }
}

TEST_MAIN
