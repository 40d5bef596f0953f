/* The words that name a student's architecture on the command line.
 *
 *     vit:width=192,layers=6,heads=3,mlp=768,patch=16,size=160,act=gelu
 *         presets vit-nano, vit-tiny, vit-small
 *     mobilevit-xxs | mobilevit-xs | mobilevit-s  [:size=256]
 *     text:width=256,layers=4,heads=4,mlp=1024,embed=128,tokens=64,pooling=mean|cls,act=gelu
 *         presets text-nano, text-tiny, text-small
 *
 * A preset may be followed by keys that override it: "vit-tiny:size=128". Keys that are absent keep
 * what stands in the config already: arch_image_default / arch_text_default, or the teacher's own
 * config in `shrink`. mlp keeps its proportion when width is given without it.
 */
#ifndef TRAIN_ARCH_H
#define TRAIN_ARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "featurize/tower.h"
#include "store/error.h"

struct tower_config arch_image_default(void); /* vit-tiny */
struct tower_config arch_text_default(void);  /* text-tiny */
/* Overrides *c by the words of spec. ERR_USAGE with the grammar; a head count that does not divide
 * the width, a size that is no multiple of the patch (32 for MobileViT) are refused. projection_dim
 * and vocab are the caller's. */
int arch_parse(const char *spec, bool is_text, struct tower_config *c, struct error *err) MUST_CHECK;
/* The canonical words of c. */
void arch_name(const struct tower_config *c, char *text, size_t size);

#endif
