/* The names of taps: "image.final", "image.block16@4x4", "text.block3.mean", "text.block3.hidden";
 * see tower.h. A name has one spelling, since it stands in fingerprints: no leading zeros, no
 * spaces, tap_name(tap_parse(name)) == name. */
#include "featurize/tower.h"

#include <stdio.h>
#include <string.h>

#define MAX_BLOCK 999
#define MAX_GRID  64

/* A number 0..most without leading zeros; moves *s behind it. -1 when there is none. */
static int number(const char **s, int most)
{
    const char *at = *s;
    int n = 0;
    if (*at == '0' && at[1] >= '0' && at[1] <= '9') return -1;
    while (*at >= '0' && *at <= '9' && n <= most) n = 10 * n + (*at++ - '0');
    if (at == *s || n > most) return -1;
    *s = at;
    return n;
}

static bool parse(const char *s, struct tap *tap, bool *is_text)
{
    *tap = (struct tap){TAP_FINAL, 0, 0};
    if (!strncmp(s, "image.", 6) || !strncmp(s, "text.", 5))
        *is_text = *s == 't';
    else
        return false;
    s += *is_text ? 5 : 6;
    if (!strcmp(s, "final")) return true;
    if (strncmp(s, "block", 5)) return false;
    s += 5;
    tap->block = number(&s, MAX_BLOCK);
    if (tap->block < 0) return false;
    tap->kind = !strcmp(s, ".mean") ? TAP_MEAN : !strcmp(s, ".hidden") ? TAP_HIDDEN : TAP_GRID;
    if (tap->kind != TAP_GRID) return true;
    if (*is_text || *s++ != '@') return false;
    tap->grid = number(&s, MAX_GRID);
    if (tap->grid < 1 || *s++ != 'x') return false;
    return number(&s, MAX_GRID) == tap->grid && !*s;
}

int tap_parse(const char *name, struct tap *tap, bool *is_text, struct error *err)
{
    struct tap found;
    bool text;
    if (!parse(name, &found, &text))
        return error_set(err, ERR_USAGE,
                         "tap \"%s\" is not understood: expected image.final, text.final, "
                         "image.block2@4x4 (a square grid of 1 to %d), image.block2.mean, "
                         "text.block3.mean or .hidden for all tokens",
                         name, MAX_GRID);
    *tap = found;
    *is_text = text;
    return 0;
}

void tap_name(const struct tap *tap, bool is_text, char *name, size_t size)
{
    const char *tower = is_text ? "text" : "image";
    switch (tap->kind) {
    case TAP_FINAL: snprintf(name, size, "%s.final", tower); break;
    case TAP_GRID:
        snprintf(name, size, "%s.block%d@%dx%d", tower, tap->block, tap->grid, tap->grid);
        break;
    case TAP_MEAN: snprintf(name, size, "%s.block%d.mean", tower, tap->block); break;
    case TAP_HIDDEN: snprintf(name, size, "%s.block%d.hidden", tower, tap->block); break;
    }
}
