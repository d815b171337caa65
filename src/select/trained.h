/* select/trained.h -- what the selectors with a trained file share (knn, kmeans, svm, mlp; spec 02, section 1.9): their input and
 * their JSON. */
#ifndef SBX_SELECT_TRAINED_H
#define SBX_SELECT_TRAINED_H

#include "base/err.h"
#include "base/json.h"
#include "select/rank.h"

enum { CATEGORIES = 14 };

struct matrix { const float *v; uint32_t rows, columns; };

/* The query's embedding and behind it its category, one-hot over VSR's fourteen names. NULL: there is no embedding. */
float *trained_query(const struct select_in *in, struct arena *a, uint32_t *n);

/* object[key] as a matrix, or a vector as a matrix of one row. Rows are of equal length, numbers finite. 0, or -1 and *e. */
int trained_matrix(const struct json *j, jref object, const char *key, struct arena *a, struct matrix *out, struct err *e);
int trained_names(const struct json *j, jref object, const char *key, struct arena *a, struct strings *out, struct err *e);
/* The file's root when it is an object whose `algorithm` is `name`. JSON_NONE and *e. */
jref trained_open(struct arena *a, str bytes, const char *name, struct json *j, struct err *e);

/* Puts the candidate of this model or adapter first. One nobody declared, or no embedding (label ""): the first, and why. */
void trained_choose(const struct select_in *in, struct arena *a, struct pick *out, str label, const char *why);

#endif
