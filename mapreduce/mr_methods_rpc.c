/* See mr_methods.h. */
#include "proto/mr.pb-c.h"

#include "mapreduce/mr_methods.h"

#define METHOD(variable, service, rpc_name, rpc_kind, request_type, reply_type)                    \
    const struct rpc_method variable = {                                                           \
        .name = "/trireme.v1." service "/" rpc_name,                                               \
        .kind = rpc_kind,                                                                          \
        .request = &trireme__v1__##request_type##__descriptor,                                     \
        .reply = &trireme__v1__##reply_type##__descriptor,                                         \
    }

METHOD(mr_submit, "MrMaster", "Submit", RPC_UNARY, submit_request, submit_reply);
METHOD(mr_watch, "MrMaster", "Watch", RPC_SERVER_STREAM, watch_request, job_status);
METHOD(mr_get_job, "MrMaster", "GetJob", RPC_UNARY, job_request, job_status);
METHOD(mr_list_jobs, "MrMaster", "ListJobs", RPC_UNARY, list_jobs_request, list_jobs_reply);
METHOD(mr_kill, "MrMaster", "Kill", RPC_UNARY, kill_request, kill_reply);
METHOD(mr_task_report, "MrMaster", "TaskReport", RPC_UNARY, task_report_request, task_report_reply);
METHOD(mr_workers, "MrMaster", "Workers", RPC_UNARY, workers_request, workers_reply);
METHOD(mr_work, "MrMaster", "Work", RPC_BIDI, worker_message, master_message);
METHOD(mr_fetch_segment, "MrWorker", "FetchSegment", RPC_SERVER_STREAM, fetch_request,
       fetch_message);
METHOD(mr_read_log, "MrWorker", "ReadLog", RPC_SERVER_STREAM, read_log_request, log_message);
