/* neural/passages.h -- inside of the service: which places of a text a head should see by themselves.
 *
 * One sentence among a hundred is lost in the mean of its window, and in the window's words; one of three is blurred. But words alone,
 * sentence by sentence, say in microseconds where an attack would be if there were one. There the trunk then looks: at few places, and at
 * none of most texts. A text that is one passage has none: a passage that is asked about by itself is not looked into again. */
#ifndef SBX_PASSAGES_H
#define SBX_PASSAGES_H

#include "neural/service.h"

/* The sentences of a text whose words say most, best first. Zero-initialise; pieces of the text in their order, then passages_end. */
struct passages {
    struct neural_span list[PASSAGES_MAX]; uint32_t n;  /* score: logit of the words; after passages_end: what a logit is lowered by */
    uint32_t n_seen;                    /* sentences that they were chosen from */
};
bool passages_wanted(const struct head *h, size_t text_bytes);          /* it looks into texts as long as this */
void passages_add(struct passages *found, const struct head *h, str piece, uint32_t shift);
/* Among many harmless sentences one looks bad by chance: the more were looked at, the less the worst of them counts. */
void passages_end(struct passages *found, const struct head *h);

/* What a head's probability of a passage by itself (one label) counts for in its text. */
float passage_probability(const struct head_passages *p, float probability, float lowered);

#endif
