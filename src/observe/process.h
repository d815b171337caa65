/* observe/process.h -- the process_* gauges, read from the system. */
#ifndef SBX_PROCESS_H
#define SBX_PROCESS_H

void process_publish(void);         /* sets them; metrics_write calls it. Any thread. */

#endif
