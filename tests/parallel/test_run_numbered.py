"""Pieces of work, in order, whoever does them, and whatever happens to who does them."""

import os
import time
from functools import partial

import pytest
from small_pieces import (
    Closing,
    Panic,
    ask_to_exit,
    cannot_be_made,
    cannot_be_sent,
    end_itself,
    kill_itself,
    kill_itself_once,
    maker,
    raise_it,
    slow_first,
    square,
    thread_settings,
)

from vjepa_wm.parallel.run_numbered import run_numbered

GAPS = [7, 3, 40, 41, 0, 12, 1000, 5]


@pytest.mark.parametrize("workers", [0, 1, 3, 20])
def test_results_come_in_the_order_of_the_numbers_also_with_gaps(workers):
    assert list(run_numbered(maker(square), GAPS, workers=workers)) == [number**2 for number in GAPS]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_dies_is_replaced_and_its_piece_done_again(tmp_path, workers):
    for number in (3, 41, 5):
        (tmp_path / str(number)).touch()
    assert list(run_numbered(maker(kill_itself_once, tmp_path), GAPS, workers=workers)) == GAPS
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("piece", "how"), [(end_itself, "with exit code 7"), (kill_itself, "by signal SIGKILL")])
def test_a_piece_at_which_three_processes_die_is_an_error_that_says_how(piece, how):
    with pytest.raises(RuntimeError, match=f"piece 3 was begun 3 times .* its process died, the last time {how}; is"):
        next(run_numbered(maker(piece), [3], workers=1))


@pytest.mark.parametrize(
    ("make_run", "message"),
    [
        (maker(raise_it, ArithmeticError("the square is broken")), "raise_it.*ArithmeticError: the square is broken"),
        (maker(raise_it, EOFError("the file is short")), "raise_it.*EOFError: the file is short"),
        (maker(raise_it, Panic("a library broke")), "raise_it.*Panic: a library broke"),
        (maker(raise_it, KeyboardInterrupt()), "raise_it.*KeyboardInterrupt"),
        (maker(ask_to_exit), "ask_to_exit.*SystemExit: enough"),
        (maker(cannot_be_sent), "pickle.*lambda"),
        (cannot_be_made, "cannot_be_made.*ArithmeticError: nothing works here"),
    ],
)
def test_an_error_of_any_type_comes_with_its_traceback(make_run, message):
    with pytest.raises(RuntimeError, match=rf"(?s)piece 12 failed in a worker process:\nTraceback.*{message}"):
        list(run_numbered(make_run, [12], workers=1))


def test_workers_do_not_run_far_ahead_of_a_slow_piece():
    done = list(run_numbered(maker(slow_first), range(30), workers=2))
    assert [number for number, _ in done] == list(range(30))
    slow = done[0][1]
    assert slow != os.getpid() and len({worker for _, worker in done}) == 2
    # While the slow one is done, the other may do the seven that follow it, and no more.
    assert slow in {worker for _, worker in done[1:9]}


def test_workers_compute_in_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    (found,) = run_numbered(maker(thread_settings), [0], workers=1)
    assert set(found.values()) == {"1"}
    assert os.environ["OMP_NUM_THREADS"] == "5" and "MKL_NUM_THREADS" not in os.environ


@pytest.mark.parametrize("workers", [0, 2])
def test_what_does_the_pieces_is_made_late_and_closed_in_every_process(tmp_path, workers):
    made = run_numbered(partial(Closing, tmp_path), range(6), workers=workers)
    assert not any(tmp_path.iterdir())
    processes = {process for _, process in made}
    assert {path.name for path in tmp_path.iterdir()} == {f"closed-{process}" for process in processes}
    assert list(run_numbered(cannot_be_made, [], workers=workers)) == []


def test_this_process_closes_it_also_after_an_error_or_when_the_iterator_is_closed(tmp_path):
    with pytest.raises(ArithmeticError, match="no piece has this number"):
        list(run_numbered(partial(Closing, tmp_path), [1, -1, 2]))
    (closed,) = tmp_path.iterdir()
    closed.unlink()
    begun = run_numbered(partial(Closing, tmp_path), [1, 2])
    next(begun)
    assert not any(tmp_path.iterdir())
    begun.close()
    assert closed.exists()


def test_closing_the_iterator_ends_the_processes_at_once():
    begun = run_numbered(maker(time.sleep), [0, 1000, 2000], workers=2)
    next(begun)
    start = time.monotonic()
    begun.close()
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("numbers", "workers", "message"),
    [([1, 2], -1, "workers must be at least 0, got -1"), ([4, 2, 4], 0, "numbers must be different, got 4 twice")],
)
def test_what_cannot_be_is_refused_before_anything_is_made(numbers, workers, message):
    with pytest.raises(ValueError, match=message):
        run_numbered(cannot_be_made, numbers, workers=workers)
