/* The methods of proto/mr.proto, as both sides name them. */
#ifndef MAPREDUCE_MR_METHODS_H
#define MAPREDUCE_MR_METHODS_H

#include "common/rpc/rpc.h"

/* MrMaster */
extern const struct rpc_method mr_submit, mr_watch, mr_get_job, mr_list_jobs, mr_kill,
    mr_task_report, mr_workers, mr_work;
/* MrWorker */
extern const struct rpc_method mr_fetch_segment, mr_read_log;

#endif
