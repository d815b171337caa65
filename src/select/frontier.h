/* select/frontier.h -- quality against cost: the hull that mixing of policies can reach, its area, and what a quality costs on
 * it. */
#ifndef SBX_SELECT_FRONTIER_H
#define SBX_SELECT_FRONTIER_H

#include <stddef.h>

struct point { double cost, quality; };

/* Keeps the points of the non-decreasing upper hull, by rising cost. Returns how many. In place. */
size_t frontier_hull(struct point *p, size_t n);
/* Area under a hull over [low, high], divided by high - low; left of the hull's first point it counts 0, right of its last one it
 * is flat. AIQ of RouterBench with a fixed interval. */
double frontier_area(const struct point *hull, size_t n, double low, double high);
/* least cost at which the hull has it; NAN: never */
double frontier_cost(const struct point *hull, size_t n, double quality);

#endif
