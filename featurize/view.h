/* Views: what part of a picture the teacher saw.
 *
 *     struct view_box box = view_of(&plan, image.key, 3, image.width_px, image.height_px);
 *
 * View 0 is the teacher's own preprocessing. View k > 0 is a random resized crop and flip, a pure
 * function of (image key, k, plan) in integer arithmetic (SHA-256 of "clipstill-view-1" | key | k |
 * counter as random bits), so that `--views 8` after 4 computes four more and a student replays the
 * same crop. Area is uniform in its range; the shape is wide or tall with equal chance, uniform in
 * width/height or in height/width; the place is uniform. With a jitter the same boxes are tinted on
 * top (featurize/jitter.h), by bits of their own ("clipstill-tint-1" | ...): a plan without one is
 * what it was before there were any, in its boxes, its JSON and every fingerprint.
 */
#ifndef FEATURIZE_VIEW_H
#define FEATURIZE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "featurize/jitter.h"
#include "store/digest.h"
#include "store/error.h"
#include "store/json.h"

struct view_plan {
    uint32_t min_area_permille, max_area_permille;   /* of the whole picture; default 400..1000 */
    uint32_t min_aspect_permille, max_aspect_permille; /* width / height; default 750..1333 */
    bool flip; /* default true: half of the views are mirrored */
    struct jitter_strength jitter; /* default none */
};

struct view_box {
    bool whole;   /* view 0: the teacher's resize and centre crop */
    uint32_t left, top, width, height; /* source pixels of the upright picture; the whole picture in view 0 */
    bool flip;
    struct jitter jitter; /* none in view 0 */
};

struct view_plan view_plan_default(void);
/* Ranges: 1 <= min <= max <= 1000 for areas, 100 <= min <= max <= 10000 for aspects, the jitter's
 * own; ERR_USAGE names what is wrong. */
int view_plan_check(const struct view_plan *plan, struct error *err) MUST_CHECK;
struct view_box view_of(const struct view_plan *plan, const uint8_t key[DIGEST_BYTES],
                        uint32_t view, uint32_t width_px, uint32_t height_px);
struct json *view_plan_json(const struct view_plan *plan); /* owned */
/* Absent keys: defaults, no jitter. ERR_DATA for a jitter that is none of ours; `name` stands in it. */
int view_plan_read(const struct json *j, const char *name, struct view_plan *plan,
                   struct error *err) MUST_CHECK;

#endif
