/* decide/facts.h -- everything that pure code may know about a request.
 *
 * Built once from the chat, the identity headers, a clock and a seed; never changed after. */
#ifndef SBX_FACTS_H
#define SBX_FACTS_H

#include "decide/chat.h"

struct needs;

/* What signals read instead of the evaluation text, because that is long (signal/compress.h). */
struct shortened { str text; const str *whole_types; size_t n_whole_types; /* these read everything */ };

struct facts {
    const struct chat *chat;
    str  current_user;                  /* last non-empty user text, trimmed */
    str  current_user_raw;              /* the same untrimmed */
    str *prior_users; uint32_t n_prior_users;   /* earlier non-empty user texts, oldest first */
    str *non_users;   uint32_t n_non_users;     /* system, developer, assistant texts */
    str  evaluation_text;               /* current_user; without user text and image: non_users joined */
    str  sampled_text;                  /* evaluation_text cut to 2048 runes (head, middle, tail) */
    uint64_t context_tokens;            /* max(estimate of the context text, floor) */
    uint64_t prompt_tokens;             /* the same without the room that is kept for the answer */
    uint32_t n_role[ROLE_N];            /* messages by role */
    uint32_t n_new_results;             /* the latest of ROLE_TOOL: those that no text of the assistant follows */
    uint32_t n_tool_calls, n_images;    /* images: user messages only */
    bool has_assistant_reply, has_developer, is_tool_loop_active;
    str  user_id; str *groups; uint32_t n_groups; bool has_identity;  /* from trusted headers */
    uint64_t now_ns, seed;              /* clock and chance are inputs */
    double bytes_per_token;             /* calibrated; 4 until ten samples are in */
    const struct shortened *shortened;  /* NULL: signals read evaluation_text */
    const struct needs *needs;          /* what has been gathered so far (decide/need.h); set by decide_run */
};

/* Fills *f in arena a. What is no part of the chat (identity, clock, seed, bytes_per_token) is
 * set by the caller before and kept; `bytes_per_token` 0 means 4. Pure. */
void facts_build(struct facts *f, struct arena *a, const struct chat *chat);

/* The same facts with the shortened text in place of the current one. Counts stay those of the request. */
void facts_shorten(struct facts *f, struct arena *a);

/* What a message says, its parts joined by one space; in place if it can be, else in a. Results of tools are most of what an agent
 * sends, again and again, and few rules read them: they are decoded here, when one does. */
str message_text(const struct message *m, struct arena *a);
str message_part(const struct message *m, uint32_t i, struct arena *a);     /* one of its n_texts */

/* Text over 2048 runes: head 682, middle 682, tail 684, with a note between the parts. */
str facts_sample(struct arena *a, str s);

#endif
