/* neural/roberta.c -- RoBERTa and XLM-RoBERTa: BERT with other names, positions that begin behind the pad's number, and a head of
 * its own. The position vectors up to pad_token_id are for pads alone, so config.json's 514 positions are 512 tokens. */
#include "neural/block.h"

static const struct trunk_kind roberta = {
    .prefix = "roberta.",
    .types = "embeddings.token_type_embeddings.weight",
    .layer = "encoder.layer.",
    .query = ".attention.self.query", .key = ".attention.self.key", .value = ".attention.self.value",
    .out = ".attention.output.dense", .out_norm = ".attention.output.LayerNorm",
    .up = ".intermediate.dense", .down = ".output.dense", .down_norm = ".output.LayerNorm",
    .activation_key = "hidden_act",
    .counts_from_pad = true,
    .text_head = { "classifier.dense", ACTIVATION_TANH, "classifier.out_proj" },
    .token_head = { .out = "classifier" },
};

static int roberta_load(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    (void)o;
    return trunk_load(e, config, &roberta, err);
}

const struct encoder_ops encoder_roberta = {
    .model_type = "roberta",
    .load = roberta_load, .forward = trunk_forward, .classify = trunk_classify, .close = trunk_close,
};

const struct encoder_ops encoder_xlm_roberta = {
    .model_type = "xlm-roberta",
    .load = roberta_load, .forward = trunk_forward, .classify = trunk_classify, .close = trunk_close,
};
