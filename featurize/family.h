/* Families of teachers: what tells AltCLIP, Chinese-CLIP, CLIP and M-CLIP apart, as tables.
 *
 *     const struct family *f = family_of_model("chinese_clip");      // config.json's model_type
 *     const struct family_text *t = family_text(config->form);       // names of a text tower
 *
 * A family is a row: the defaults of its Hugging Face configuration classes, the form of its text
 * tower, its tokenizer. A form is a row, too: names of tensors and which parts there are. All
 * picture towers are the ViT of vit.c; text towers of the BERT kind are xlmr.c's, CLIP's is
 * cliptext.c's. Constant data.
 */
#ifndef FEATURIZE_FAMILY_H
#define FEATURIZE_FAMILY_H

#include "featurize/tokenizer.h"
#include "featurize/tower.h"

struct family_text {
    const char *model_type;  /* text_config's */
    const char *prefix;      /* of all tensors but those below: "text_model.roberta." */
    const char *word;        /* behind prefix: the token table */
    const char *norm;        /* layer norm before the head; NULL: none */
    const char *hidden;      /* AltCLIP's linear before the projection; NULL: none */
    const char *projection;
    bool projection_bias;
    bool pad_shifts; /* positions begin behind the padding's id, as in fairseq; else at 0 */
    bool is_causal;  /* cliptext.c */
};

struct family {
    const char *model_type; /* config.json's */
    enum tower_text form;
    enum tokenizer_kind tokenizer;
    bool has_image;
    const char *processor; /* of a preprocessor_config.json that names none */
    int context;        /* tokens that texts are cut to where nothing else says less; 0: positions */
    int projection_dim; /* absent projection_dim */
    float logit_scale;  /* absent logit_scale_init_value, a logarithm */
    struct tower_config text; /* absent keys of text_config */
};

const struct family *family_of_model(const char *model_type); /* NULL: unknown */
/* By text_config's model_type, for students; NULL: unknown. */
const struct family *family_of_text(const char *model_type);
const struct family *family_of_form(enum tower_text form);
const struct family_text *family_text(enum tower_text form);
/* Whether a tensor of this name belongs to the picture or the text tower of some family. */
bool family_owns(const char *tensor, bool is_text);
/* False for what old checkpoints carry and nobody looks at: position_ids, poolers, batch counts. */
bool family_uses(const char *tensor);
const char *family_names(void); /* "altclip", ... for messages. Static. */

#endif
