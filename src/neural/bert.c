/* neural/bert.c -- BERT, MiniLM and DistilBERT: names of tensors for the transformer in block.c. */
#include "neural/block.h"

static const struct trunk_kind bert = {
    .prefix = "bert.",
    .types = "embeddings.token_type_embeddings.weight",
    .layer = "encoder.layer.",
    .query = ".attention.self.query", .key = ".attention.self.key", .value = ".attention.self.value",
    .out = ".attention.output.dense", .out_norm = ".attention.output.LayerNorm",
    .up = ".intermediate.dense", .down = ".output.dense", .down_norm = ".output.LayerNorm",
    .activation_key = "hidden_act",
    .text_head = { "pooler.dense", ACTIVATION_TANH, "classifier" },
    .token_head = { .out = "classifier" },
};

static const struct trunk_kind distilbert = {
    .prefix = "distilbert.",
    .layer = "transformer.layer.",
    .query = ".attention.q_lin", .key = ".attention.k_lin", .value = ".attention.v_lin",
    .out = ".attention.out_lin", .out_norm = ".sa_layer_norm",
    .up = ".ffn.lin1", .down = ".ffn.lin2", .down_norm = ".output_layer_norm",
    .activation_key = "activation",
    .text_head = { "pre_classifier", ACTIVATION_RELU, "classifier" },
    .token_head = { .out = "classifier" },
};

static int bert_load(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    (void)o;
    return trunk_load(e, config, &bert, err);
}

static int distilbert_load(struct encoder *e, const struct json *config, const struct encoder_options *o, struct err *err)
{
    (void)o;
    return trunk_load(e, config, &distilbert, err);
}

const struct encoder_ops encoder_bert = {
    .model_type = "bert",
    .load = bert_load, .forward = trunk_forward, .classify = trunk_classify, .close = trunk_close,
};

const struct encoder_ops encoder_distilbert = {
    .model_type = "distilbert",
    .load = distilbert_load, .forward = trunk_forward, .classify = trunk_classify, .close = trunk_close,
};
