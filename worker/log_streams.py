"""A container's log by the engine's stream, where its file can't be read from here: a thread follows it."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from orchestrator.engine.base import Engine, LogLine
from orchestrator.engine.errors import EngineError, Fault
from orchestrator.logs.gaps import missed
from orchestrator.logs.lines import STDERR, STDOUT
from orchestrator.logs.position import Position
from orchestrator.logs.record import TIMES, Line
from orchestrator.logs.resume import Moment, Resumed, since_seconds
from worker.log_source import Taken

_MOST_WAITING = 20_000  # lines read and not taken: a full queue holds the stream back
_MOST_WAITING_BYTES = 4 * 1024 * 1024  # of their messages: a line may have a megabyte
_RETRY_SECONDS = 1.0
_STREAMS = {"stdout": STDOUT, "stderr": STDERR}
_ENDED = ("exited", "dead")
_MOST_CHECK_BYTES = 16 * 1024 * 1024  # the stamps of a stretch are kept in memory
_CHECK_BYTES = 4 * 1024 * 1024  # when nobody knows how much the engine keeps


class StreamSource:
    """Follows in a thread of its own, from the position on; breaks are mended, and what they cost is said.

    An engine that rotates a log faster than it hands it out leaves lines out without a word. So after each stretch
    of half of what it keeps, the stretch is read once more: what is there and did not come is filled in, and what is
    not there any more is told of.
    """

    def __init__(
        self,
        engine: Engine,
        container_id: str,
        position: Position | None,
        most_bytes: int,
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._container_id = container_id
        self._moment = Moment(position.at_ns, position.count_at_ns) if position and position.at_ns else None
        self._check_bytes = min(most_bytes // 2, _MOST_CHECK_BYTES) or _CHECK_BYTES
        self._wake = wake
        self._waiting: deque[Taken] = deque()
        self._waiting_bytes = 0
        self._room = threading.Condition()
        self._closed = threading.Event()
        self._through = False
        self._fault: EngineError | None = None
        self._thread: threading.Thread | None = None
        self._stretch = Counter[int]()  # what came since the last check, by `_key`
        self._before = Counter[int]()  # those of the stretch before
        self._stretch_bytes = 0
        self._stretch_first = 0
        self._stretch_from = self._moment

    def pending(self) -> bool:
        if self._thread is None:
            name = f"log {self._container_id[:12]}"
            self._thread = threading.Thread(target=self._run, name=name, daemon=True)
            self._thread.start()
        if self._waiting:
            return True
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault
        return False

    def take(self, most_bytes: int) -> Taken | None:
        with self._room:
            if not self._waiting:
                return None
            first = self._waiting.popleft()
            lines: list[Line] = list(first.lines)
            taken = _bytes(first)
            while self._waiting and taken < most_bytes and not first.late:
                if self._waiting[0].late or self._waiting[0].gap:
                    break
                more = self._waiting.popleft()
                lines += more.lines
                taken += _bytes(more)
            self._waiting_bytes -= taken
            self._room.notify_all()
        return Taken(lines, gap=first.gap, late=first.late)

    def through(self) -> bool:
        return self._through and not self._waiting

    def lost(self) -> bool:
        return True

    def finish(self) -> Taken | None:
        return None

    def rest(self) -> None:
        """There is nothing to give back: the engine speaks when the container does."""

    def close(self) -> None:
        self._closed.set()
        with self._room:
            self._room.notify_all()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._copy(follow=True)
                if self._closed.is_set():
                    return
                ended = self._engine.inspect_container(self._container_id).state in _ENDED
                self._copy(follow=False)  # a last line without a line end, which a followed stream may leave out
                if ended:
                    self._check()
                    self._through = True
                    self._wake()
                    return
            except EngineError as error:
                self._fault = error
                self._wake()
                if error.fault is Fault.NOT_FOUND:
                    self._through = True
                    return
            self._closed.wait(_RETRY_SECONDS)

    def _copy(self, *, follow: bool) -> None:
        """Queue what is behind the moment we are at."""
        moment = self._moment
        resumed = Resumed(moment)
        for line in resumed.of(self._tallied(self._given(moment, follow=follow))):
            gap = ""
            if moment is not None and not resumed.met:
                gap = missed(moment.at_ns, line.at_ns)
            moment = None  # told once, if at all
            self._put(Taken([(line.at_ns, _STREAMS[line.stream], line.message)], gap=gap))
            self._moment = self._after(line.at_ns)
            if self._stretch_bytes >= self._check_bytes:
                self._check()
            if self._closed.is_set():
                return

    def _given(self, moment: Moment | None, *, follow: bool = False) -> Iterator[LogLine]:
        """What the engine gives from there on. A stamp that is no time is its predecessor's."""
        latest = 0
        for line in self._engine.logs(self._container_id, since_seconds=since_seconds(moment), follow=follow):
            if line.at_ns in TIMES:
                latest = line.at_ns
                yield line
            else:
                yield replace(line, at_ns=latest)

    def _after(self, at_ns: int) -> Moment:
        if self._moment is not None and self._moment.at_ns == at_ns:
            return Moment(at_ns, self._moment.count_at_ns + 1)
        return Moment(at_ns, 1)

    def _tallied(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Without lines that a stream gives twice, as it does at a rotation: time goes back, to lines we have had.

        Those behind the moment count for the stretch.
        """
        latest = 0
        for line in lines:
            key = _key(line)
            if line.at_ns <= latest and (key in self._stretch or key in self._before):
                continue
            latest = max(latest, line.at_ns)
            if self._moment is None or line.at_ns > self._moment.at_ns:
                self._stretch[key] += 1
                self._stretch_first = self._stretch_first or line.at_ns
                self._stretch_bytes += len(line.message) + 80
            yield line

    def _check(self) -> None:
        """Read the stretch once more and see what did not come the first time."""
        self._before, begin, end = self._stretch, self._stretch_from, self._moment
        start_ns = self._stretch_first
        self._stretch, self._stretch_bytes, self._stretch_first, self._stretch_from = Counter(), 0, 0, end
        if end is None or not self._before:
            return
        had = Counter(self._before)
        absent: list[Line] = []
        first = 0
        for line in self._given(begin):
            first = first or line.at_ns
            if line.at_ns >= end.at_ns:
                break
            if begin is not None and line.at_ns <= begin.at_ns:
                continue
            key = _key(line)
            if had[key]:
                had[key] -= 1
            else:
                self._before[key] += 1
                absent.append((line.at_ns, _STREAMS[line.stream], line.message))
        if absent:
            self._put(Taken(absent, late=True))
        start = begin.at_ns if begin else start_ns
        if first == 0 or first > start:  # the engine has the beginning no more, so nobody knows
            self._put(Taken((), gap=missed(start, first or end.at_ns)))

    def _put(self, taken: Taken) -> None:
        with self._room:
            self._room.wait_for(lambda: self._has_room() or self._closed.is_set())
            self._waiting.append(taken)
            self._waiting_bytes += _bytes(taken)
            first = len(self._waiting) == 1
        if first:
            self._wake()

    def _has_room(self) -> bool:
        return len(self._waiting) < _MOST_WAITING and self._waiting_bytes < _MOST_WAITING_BYTES


def _bytes(taken: Taken) -> int:
    return sum(len(message) for _, _, message in taken.lines)


def _key(line: LogLine) -> int:
    """The same for the same line given twice."""
    return hash((line.at_ns, line.stream, line.message))
