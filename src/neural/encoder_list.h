/* neural/encoder_list.h -- the architectures.
 *
 * X(name) stands for `extern const struct encoder_ops encoder_<name>`; several may live in one file. */
X(bert)
X(distilbert)
X(roberta)
X(xlm_roberta)
X(modernbert)
X(deberta)
