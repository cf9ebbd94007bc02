/* See load.h. */
#include "bench/lib/load.h"

#include <stdio.h>
#include <stdlib.h>

#include <protobuf-c/protobuf-c.h>

#include "bench/lib/measure.h"
#include "common/alloc.h"
#include "common/clock.h"

enum { CALL_MS = 30 * 1000 };

void load_next_path(char path[LOAD_PATH_BYTES])
{
    static uint64_t number;
    number++;
    (void)snprintf(path, LOAD_PATH_BYTES, "/d%02u/f%08u", (unsigned)(number % LOAD_DIRECTORIES),
                   (unsigned)number);
}

static bool lane_start(struct load_lane *lane);

static void note_latency(struct load *load, double us)
{
    if (load->latency_count == load->latency_capacity) {
        load->latency_capacity = load->latency_capacity ? 2 * load->latency_capacity : 4096;
        load->latencies_us =
            xreallocarray(load->latencies_us, load->latency_capacity, sizeof(double));
    }
    load->latencies_us[load->latency_count++] = us;
}

static void lane_done(void *arg, const struct rpc_result *result, const ProtobufCMessage *reply)
{
    struct load_lane *lane = arg;
    struct load *load = lane->load;
    uint64_t now_us = clock_mono_us();
    if (result->code < 0) {
        bench_fail("%s: %s: %s", load->ask->method->name, err_name(result->code), result->text);
    }
    if (load->ask->check) {
        load->ask->check(lane, reply);
    }
    load->under_way--;
    if (!load->finishing) {
        note_latency(load, (double)(now_us - lane->begun_us));
        load->done += load->ops;
    }
    if (load->finishing || now_us < load->until_us) {
        (void)lane_start(lane);
    }
    load->idle = load->under_way == 0;
}

/* False: nothing is left to finish. */
static bool lane_start(struct load_lane *lane)
{
    struct load *load = lane->load;
    arena_reset(&lane->arena);
    const ProtobufCMessage *message =
        load->finishing ? load->ask->finish(lane) : load->ask->request(lane);
    if (!message) {
        return false;
    }
    struct rpc_request request = {.channel = load->channel,
                                  .method = load->ask->method,
                                  .message = message,
                                  .deadline = clock_mono_ms() + CALL_MS};
    load->under_way++;
    lane->begun_us = clock_mono_us();
    rpc_call_start(load->loop, &request, lane_done, lane);
    return true;
}

static void wait_idle(struct load *load)
{
    if (!rpc_loop_until(load->loop, &load->idle, clock_mono_ms() + 2 * (time_ms)CALL_MS)) {
        bench_fail("%s hangs", load->ask->method->name);
    }
}

/* Keeps `flight` calls under way for so long, then waits for the last of them. */
static void run_for(struct load *load, uint32_t flight, double seconds)
{
    load->idle = false;
    load->until_us = clock_mono_us() + (uint64_t)(seconds * 1e6);
    for (uint32_t i = 0; i < flight; i++) {
        (void)lane_start(&load->lanes[i]);
    }
    wait_idle(load);
}

static void finish(struct load *load)
{
    bool any = false;
    load->finishing = true;
    load->idle = false;
    for (uint32_t i = 0; load->ask->finish && i < load->flight; i++) {
        any = lane_start(&load->lanes[i]) || any;
    }
    if (any) {
        wait_idle(load);
    }
}

void load_run(struct load *load)
{
    struct rpc_channel_options options = {
        .address = load->address, .class = RPC_CONTROL, .user = "root"};
    static uint64_t runs;
    struct bench_time time;
    struct err e = ERR_INIT;
    load->run = ++runs;
    load->loop = rpc_loop_new();
    if (rpc_channel_open(&options, &load->channel, &e) < 0) {
        bench_fail("%s", err_message(&e));
    }
    for (uint32_t i = 0; i < load->flight; i++) {
        load->lanes[i] = (struct load_lane){.load = load, .number = i};
        arena_init(&load->lanes[i].arena, 0);
    }
    run_for(load, 1, 0); /* the connection is there now */
    load->done = 0;
    load->latency_count = 0;
    bench_start(&time);
    run_for(load, load->flight, load->seconds);
    bench_stop(&time);
    load->wall_s = time.wall_s;
    load->client_cpu_s = time.cpu_s;
    load->p50_us = bench_percentile(load->latencies_us, load->latency_count, 50);
    load->p99_us = bench_percentile(load->latencies_us, load->latency_count, 99);
}

void load_end(struct load *load)
{
    finish(load);
    for (uint32_t i = 0; i < load->flight; i++) {
        arena_deinit(&load->lanes[i].arena);
        free(load->lanes[i].files);
    }
    rpc_channel_unref(load->channel);
    rpc_loop_free(load->loop);
    free(load->latencies_us);
}
