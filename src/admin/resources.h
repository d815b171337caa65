/* admin/resources.h -- the resources of the management API; the table is at the end of resources.c. */
#ifndef SBX_ADMIN_RESOURCES_H
#define SBX_ADMIN_RESOURCES_H

#include "admin/admin.h"

extern const struct admin_route admin_routes[];     /* ends with a NULL handle */

void admin_eval(struct admin_req *r);               /* admin/route_eval.c */

#endif
