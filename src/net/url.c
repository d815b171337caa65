/* net/url.c */
#include "net/url.h"

bool url_parse(str text, struct url *out)
{
    *out = (struct url){ 0 };
    if (str_starts(text, S("https://")))
        out->is_https = true, text = str_from(text, 8);
    else if (str_starts(text, S("http://")))
        text = str_from(text, 7);
    else
        return false;
    long slash = str_chr(text, '/');
    str authority = slash < 0 ? text : str_upto(text, (size_t)slash);
    out->path = slash < 0 ? S("") : str_from(text, (size_t)slash);
    while (str_ends(out->path, S("/")))
        out->path.len--;
    return endpoint_parse(authority, out->is_https ? 443 : 80, &out->at);
}
