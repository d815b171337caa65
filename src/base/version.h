/* base/version.h -- the one place that knows it. */
#ifndef SBX_VERSION_H
#define SBX_VERSION_H

#define SIGNALBOX_VERSION "0.1.0"

#endif
