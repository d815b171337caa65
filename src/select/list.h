/* select/list.h -- every way to choose among a decision's candidates, one line each.
 *
 * X(symbol): `const struct select_ops select_<symbol>` in a file of that name; the flows
 * are in flows.c. */
X(static)
X(weighted)
X(multi_factor)
X(latency_aware)
X(learned)
X(router_dc)
X(automix)
X(hybrid)
X(knn)
X(kmeans)
X(svm)
X(mlp)
X(prompt)
X(confidence)
X(ratings)
X(remom)
X(fusion)
X(workflows)
