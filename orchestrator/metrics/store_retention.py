"""What leaves the metric store: what is too old, what is too much (both in small bites), a wrong future."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from orchestrator.metrics.rollup_minutes import MINUTE_MS
from orchestrator.metrics.store_file import all_pages, used_pages

# At most so much of a table goes with one minute's roll-up. A bite keeps the round short, and a clock that leaps
# ahead for a moment can't empty the store.
RAW_BITE_MINUTES = 5
HOURS_BITE = 1
ROOM_BITES = 4
VACUUM_PAGES = 200
LATE_MINUTES = 2
_RAW_TABLES = ("raw", "proxy_raw")
_HOUR_TABLES = ("usage_minutes", "service_minutes")


@dataclass(frozen=True)
class Retention:
    """How long samples (hours) and roll-ups (days) are kept, and how many pages the file may have."""

    raw_hours: int
    rollup_days: int
    most_pages: int

    def oldest_raw_minute(self, now_minute: int) -> int:
        """Samples before this minute are not kept."""
        return now_minute - self.raw_hours * 60

    def drop_what_comes_again(self, db: sqlite3.Connection, now_ms: int) -> None:
        """After the clock went back: the samples of a time that is still to come would be taken for those of then.

        Rounds may come late by a minute or two, so only a longer way back counts. What was rolled up stays until its
        minute comes again.
        """
        minute, at = divmod(now_ms, MINUTE_MS)
        highest = [high for table in _RAW_TABLES if (high := _highest(db, table, "minute")) is not None]
        if max(highest, default=minute) <= minute + LATE_MINUTES:
            return
        for table in _RAW_TABLES:
            db.execute(f"DELETE FROM {table} WHERE minute > ? OR (minute = ? AND at > ?)", (minute, minute, at))
        db.execute("DELETE FROM unrolled WHERE minute > ?", (minute,))

    def drop_old(self, db: sqlite3.Connection, now_minute: int) -> bool:
        """Take a bite of what is too old; whether names went with it."""
        first_minute = self.oldest_raw_minute(now_minute)
        for table in _RAW_TABLES:
            low = _lowest(db, table, "minute")
            if low is not None and low < first_minute:
                db.execute(f"DELETE FROM {table} WHERE minute < ?", (min(first_minute, low + RAW_BITE_MINUTES),))
        first_hour = now_minute // 60 - self.rollup_days * 24
        for table in _HOUR_TABLES:
            low = _lowest(db, table, "hour")
            if low is not None and low < first_hour:
                db.execute(f"DELETE FROM {table} WHERE hour < ?", (min(first_hour, low + HOURS_BITE),))
        return self._drop_names(db)

    def make_room(self, db: sqlite3.Connection, now_minute: int) -> bool:
        """Take some bites of the oldest while the file is nearly full; whether names went with them.

        A twentieth (at least a round's worth of pages) stays free, so that a round always finds room.
        """
        enough = self.most_pages - max(64, self.most_pages // 20)
        bites = 0
        while bites < ROOM_BITES and used_pages(db) > enough and self._drop_oldest(db, now_minute):
            bites += 1
        # A file that was allowed to be bigger gives a little of itself back each time.
        for _ in range(min(VACUUM_PAGES, all_pages(db) - self.most_pages, all_pages(db) - used_pages(db))):
            db.execute("PRAGMA incremental_vacuum(1)")  # of a greater number Python's driver takes the first step alone
        return bites > 0 and self._drop_names(db)

    def _drop_oldest(self, db: sqlite3.Connection, now_minute: int) -> bool:
        """An hour of roll-ups or a minute of samples, whichever is older; of the same hour the samples go first."""
        unrolled = _lowest(db, "unrolled", "minute")
        first_kept = now_minute if unrolled is None else min(unrolled, now_minute)
        minutes = [low for table in _RAW_TABLES if (low := _lowest(db, table, "minute")) is not None]
        hours = [low for table in _HOUR_TABLES if (low := _lowest(db, table, "hour")) is not None]
        minute, hour = min(minutes, default=now_minute), min(hours, default=now_minute // 60)
        if hour < minute // 60:
            for table in _HOUR_TABLES:
                db.execute(f"DELETE FROM {table} WHERE hour <= ?", (hour,))
            return True
        for table in _RAW_TABLES:
            db.execute(f"DELETE FROM {table} WHERE minute <= ? AND minute < ?", (minute, first_kept))
        return minute < first_kept

    def _drop_names(self, db: sqlite3.Connection) -> bool:
        """Names of which nothing can be left any more."""
        lows = [_lowest(db, table, "hour") for table in _HOUR_TABLES]
        lows += [None if low is None else low // 60 for low in (_lowest(db, table, "minute") for table in _RAW_TABLES)]
        first = min((low for low in lows if low is not None), default=None)
        if first is None:
            return False
        gone = db.execute("DELETE FROM series WHERE last_hour < ?", (first,)).rowcount
        return gone + db.execute("DELETE FROM services WHERE last_hour < ?", (first,)).rowcount > 0


def _lowest(db: sqlite3.Connection, table: str, column: str) -> int | None:
    low = db.execute(f"SELECT min({column}) FROM {table}").fetchone()[0]
    return None if low is None else int(low)


def _highest(db: sqlite3.Connection, table: str, column: str) -> int | None:
    high = db.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]
    return None if high is None else int(high)
