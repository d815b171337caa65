/* net/url.h -- http and https addresses as configurations write them. */
#ifndef SBX_URL_H
#define SBX_URL_H

#include "net/conn.h"

struct url { bool is_https; struct endpoint at; str path; };    /* path without slashes at its end; "" : none */

bool url_parse(str text, struct url *out);      /* spans of text; false: no http(s) address */

#endif
