"""The device's worker and the hot switch of models, with real threads and a real event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator

import pytest
import torch

from cogs.memory.inference.device_worker import (
    DeadlineExceeded,
    DeviceOutOfMemory,
    DeviceWorker,
    Priority,
    WorkerClosed,
)
from cogs.memory.inference.model_slot import ModelSlot


@pytest.fixture
def worker() -> Iterator[DeviceWorker]:
    worker = DeviceWorker("cpu")
    yield worker
    assert worker.close(5)


class Gate:
    """A call that holds the device until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.release.wait(10)
        return "gate"

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 10)


async def test_everything_runs_on_one_thread_that_is_not_the_loops(worker: DeviceWorker) -> None:
    threads = await asyncio.gather(*(worker.run(threading.get_ident) for _ in range(20)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


async def test_a_person_goes_ahead_of_background_work_and_equals_keep_their_order(worker: DeviceWorker) -> None:
    gate, order = Gate(), list[str]()
    first = asyncio.create_task(worker.run(gate, priority=Priority.BACKGROUND))
    await gate.wait_entered()
    tasks = []
    for name, priority in [("b1", Priority.BACKGROUND), ("i1", Priority.INTERACTIVE), ("b2", Priority.BACKGROUND)]:
        tasks.append(asyncio.create_task(worker.run(order.append, name, priority=priority)))
    tasks.append(asyncio.create_task(worker.run(order.append, "i2")))
    await asyncio.sleep(0)
    gate.release.set()
    await asyncio.gather(first, *tasks)
    assert order == ["i1", "i2", "b1", "b2"]


async def test_a_missed_deadline_is_told_at_once_and_the_loop_stays_free(worker: DeviceWorker) -> None:
    gate, beats = Gate(), 0

    async def heartbeat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    pulse = asyncio.create_task(heartbeat())
    with pytest.raises(DeadlineExceeded):
        await worker.run(gate, deadline=0.2)  # the gate stays closed: whoever waits for the call waits for ever
    assert beats > 0
    pulse.cancel()
    health = worker.health()
    assert health.busy_for is not None
    assert health.busy_for >= 0.1
    gate.release.set()
    assert await worker.run(lambda: "next") == "next"
    assert worker.health().busy_for is None


async def test_work_whose_deadline_passed_in_the_queue_is_never_started(worker: DeviceWorker) -> None:
    gate, started = Gate(), list[str]()
    first = asyncio.create_task(worker.run(gate))
    await gate.wait_entered()
    with pytest.raises(DeadlineExceeded):
        await worker.run(started.append, "late", deadline=0.05)
    gate.release.set()
    await first
    await worker.run(started.append, "in time", deadline=5)
    assert started == ["in time"]


async def test_cancelling_the_waiter_drops_its_work_and_frees_its_arguments(worker: DeviceWorker) -> None:
    class Batch:
        pass

    gate, started = Gate(), list[Batch]()
    first = asyncio.create_task(worker.run(gate))
    await gate.wait_entered()
    batch = Batch()
    freed = weakref.ref(batch)
    waiting = asyncio.create_task(worker.run(started.append, batch))
    await asyncio.sleep(0)
    assert worker.health().queued == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del waiting, batch
    gc.collect()
    assert freed() is None
    assert worker.health().queued == 0
    gate.release.set()
    await first
    await worker.run(lambda: None)
    assert started == []


async def test_an_error_reaches_the_waiter_and_the_worker_goes_on(worker: DeviceWorker) -> None:
    def broken() -> None:
        raise ValueError("no such token")

    def stops() -> None:
        raise StopIteration

    def exits() -> None:
        raise SystemExit(3)

    def times_out() -> None:
        raise TimeoutError("the model's own")

    with pytest.raises(ValueError, match="no such token"):
        await worker.run(broken)
    for call in (stops, exits):
        with pytest.raises(RuntimeError, match="a model raised"):
            await asyncio.wait_for(worker.run(call), 5)
    with pytest.raises(TimeoutError, match="the model's own"):
        await worker.run(times_out, deadline=5)
    assert await worker.run(lambda: 1) == 1
    health = worker.health()
    assert (health.completed, health.failed, health.alive) == (1, 4, True)
    assert health.last_error is not None
    assert "the model's own" in health.last_error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
async def test_out_of_memory_has_its_own_type(worker: DeviceWorker, error: Exception) -> None:
    def exhausted() -> None:
        raise error

    with pytest.raises(DeviceOutOfMemory) as caught:
        await worker.run(exhausted)
    assert caught.value.__cause__ is error
    assert await worker.run(lambda: 1) == 1


async def test_closing_fails_what_waits_and_lets_the_running_call_end() -> None:
    worker, gate = DeviceWorker("cpu"), Gate()
    running = asyncio.create_task(worker.run(gate))
    await gate.wait_entered()
    waiting = asyncio.create_task(worker.run(lambda: "never"))
    await asyncio.sleep(0)
    assert not await asyncio.to_thread(worker.close, 0.05)
    with pytest.raises(WorkerClosed):
        await waiting
    gate.release.set()
    assert await running == "gate"
    assert await asyncio.to_thread(worker.close, 5)
    assert not worker.health().alive
    with pytest.raises(WorkerClosed):
        await worker.run(lambda: None)


class Model:
    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


async def test_requests_in_flight_finish_on_the_old_model_which_closes_when_the_last_leaves() -> None:
    old, new = Model("old"), Model("new")
    slot = ModelSlot(old)
    with slot.acquire() as first:
        with slot.acquire() as second:
            slot.swap(new)
            assert (first, second) == (old, old)
            with slot.acquire() as third:
                assert third is new
        assert old.closed == 0
    assert old.closed == 1
    assert new.closed == 0


def test_an_unused_model_closes_at_the_swap_and_a_failing_request_lets_go() -> None:
    models = [Model(str(i)) for i in range(3)]
    slot = ModelSlot(models[0])
    slot.swap(models[1])
    assert models[0].closed == 1
    with pytest.raises(ZeroDivisionError), slot.acquire():
        raise ZeroDivisionError
    slot.swap(models[2])
    assert [model.closed for model in models] == [1, 1, 0]


def test_no_request_ever_sees_a_closed_model_while_models_are_swapped() -> None:
    slot = ModelSlot(Model("0"))
    made, bad = [slot.current], list[str]()
    stop = threading.Event()

    def requests() -> None:
        while not stop.is_set():
            with slot.acquire() as model:
                if model.closed:
                    bad.append(model.name)
                time.sleep(0)
                if model.closed:
                    bad.append(model.name)

    threads = [threading.Thread(target=requests) for _ in range(4)]
    for thread in threads:
        thread.start()
    for i in range(200):
        made.append(Model(str(i)))
        slot.swap(made[-1])
        time.sleep(0.0005)
    stop.set()
    for thread in threads:
        thread.join(5)
    assert bad == []
    assert [model.closed for model in made[:-1]] == [1] * 200
    assert made[-1].closed == 0
