# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""Choosing a deployment of a router: what is remembered of a model group, and each strategy's pick.

The truth stays in the router's own lists and caches. What is remembered of them is compared with them at every choice:
a dict has changed when its version has (PEP 509), a list when one of its items is another object.
"""

from __future__ import annotations

import sys
import time
from asyncio import _get_running_loop as running_loop
import weakref
from heapq import heappop, heappush
from math import ceil
from random import Random

from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from litellm_accel._cy.bindings cimport Bindings
from litellm_accel._cy.dict_writes cimport accel_dict_version, accel_watch, accel_writes
from litellm_accel._cy.gate cimport Gate
from litellm_accel._cy.simd cimport highest

cdef frozenset LISTING_METHODS, UNSERVED_KEYS
cdef tuple EMPTY_CONTAINERS, STEERING_KEYS, UNSERVED_METADATA, UNSERVED_UNLESS_NONE

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved
from litellm_accel.routing.known_names import (
    EMPTY_CONTAINERS,
    LISTING_METHODS,
    PATIENCE,
    PAUSE,
    STEERING_KEYS,
    UNSERVED_KEYS,
    UNSERVED_METADATA,
    UNSERVED_UNLESS_NONE,
)

__all__ = ["Chooser", "Snapshot", "increment", "shuffled"]

cdef extern from *:
    """
    #if PY_VERSION_HEX >= 0x030E0000
    #error "dicts carry no version from CPython 3.14 on; the pure twin serves"
    #endif
    #if defined(__GNUC__)
    #define accel_fetch(object) __builtin_prefetch((object), 1)
    #else
    #define accel_fetch(object) ((void)(object))
    #endif
    #define accel_list_items(list) (((PyListObject *)(list))->ob_item)
    /* The generator of the random module: MT19937 and its position. Compared with a real one before it is trusted. */
    typedef struct { PyObject_HEAD int position; uint32_t words[624]; } accel_twister;
    """
    ctypedef struct Twister "accel_twister":
        int position
        uint32_t words[624]
    void accel_fetch(PyObject *object) noexcept
    PyObject **list_items "accel_list_items"(PyObject *items) noexcept
    PyObject *PyList_GET_ITEM(PyObject *items, Py_ssize_t index) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject *items) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *items, Py_ssize_t index) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject *items) noexcept
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    int PyDict_Next(dict mapping, Py_ssize_t *position, PyObject **key, PyObject **value) noexcept
    int PyDict_SetItem(dict mapping, PyObject *key, PyObject *value) except -1
    dict sized_dict "__Pyx_PyDict_NewPresized"(Py_ssize_t size)

cdef double INFINITY = float("inf")
cdef long long EXACT = 1 << 52
cdef frozenset NOTHING = frozenset()
cdef list NO_SAMPLES = []

# How many entries of a report are brought nearer before they are written.
cdef Py_ssize_t AHEAD = 8


class Changing(Unserved):
    """The router's lists disagree, as they do while another thread removes a deployment."""


cdef uint64_t version(dict mapping) noexcept:
    return accel_dict_version(<PyObject *>mapping)


cdef bint same(list before, list now) noexcept:
    """Return whether two lists hold the same objects."""
    cdef Py_ssize_t size = PyList_GET_SIZE(<PyObject *>before)
    if size != PyList_GET_SIZE(<PyObject *>now):
        return False
    return size == 0 or not memcmp(list_items(<PyObject *>before), list_items(<PyObject *>now), size * sizeof(void *))


cdef class Snapshot:
    """Dicts and lists as they were when the snapshot was made."""

    cdef list dicts
    cdef list lists
    cdef list items
    cdef uint64_t versions
    cdef bint watched
    cdef uint64_t writes

    def __cinit__(self, dicts: list, lists: list | None = None) -> None:
        for mapping in dicts:
            if not isinstance(mapping, dict):
                raise TypeError(f"a snapshot is of dicts, got {type(mapping).__name__}")
        self.dicts = list(dicts)
        self.versions = self.summed()
        self.lists = list(lists or [])
        self.items = [list(held) for held in self.lists]

    cdef uint64_t summed(self) noexcept:
        """Return the sum of all versions: each write makes one of them larger, so no change leaves it as it was."""
        cdef Py_ssize_t index
        cdef uint64_t found = 0
        cdef PyObject **held = list_items(<PyObject *>self.dicts)
        for index in range(PyList_GET_SIZE(<PyObject *>self.dicts)):
            found += accel_dict_version(held[index])
        return found

    cpdef bint changed(self):
        """Return whether one of them has been written to since. Nested objects are not looked into."""
        cdef Py_ssize_t index
        for index in range(PyList_GET_SIZE(<PyObject *>self.lists)):
            if not same(<list>self.items[index], <list>self.lists[index]):
                return True
        if self.watched and self.writes == accel_writes:
            return False
        if self.summed() != self.versions:
            return True
        self.writes = accel_writes
        return False

    cdef object watch(self):
        """Have the interpreter tell of writes, where it can (CPython 3.12 and later)."""
        for mapping in self.dicts:
            if not accel_watch(mapping):
                return
        self.watched = True


cdef class Numbers:
    """An array of C doubles."""

    cdef Py_ssize_t count
    cdef double *values

    def __cinit__(self, Py_ssize_t count):
        self.count = count
        self.values = <double *>PyMem_Malloc(max(count, 1) * sizeof(double))
        if self.values is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.values)


cdef class Places:
    """An array of positions."""

    cdef Py_ssize_t count
    cdef int32_t *values

    def __cinit__(self, Py_ssize_t count):
        self.count = count
        self.values = <int32_t *>PyMem_Malloc(max(count, 1) * sizeof(int32_t))
        if self.values is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.values)


cdef void twist(Twister *twister) noexcept:
    """Make the next 624 words (MT19937: Matsumoto and Nishimura, 1998)."""
    cdef uint32_t *words = twister.words
    cdef int place
    for place in range(227):
        words[place] = words[place + 397] ^ mixed(words[place], words[place + 1])
    for place in range(227, 623):
        words[place] = words[place - 227] ^ mixed(words[place], words[place + 1])
    words[623] = words[396] ^ mixed(words[623], words[0])
    twister.position = 0


cdef inline uint32_t mixed(uint32_t upper, uint32_t lower) noexcept:
    cdef uint32_t both = (upper & 0x80000000u) | (lower & 0x7FFFFFFFu)
    return (both >> 1) ^ (0x9908B0DFu * (both & 1))


cdef inline uint32_t word(Twister *twister) noexcept:
    """Return the 32 bits ``getrandbits(32)`` would."""
    cdef uint32_t drawn
    if twister.position >= 624:
        twist(twister)
    drawn = twister.words[twister.position]
    twister.position += 1
    drawn ^= drawn >> 11
    drawn ^= (drawn << 7) & 0x9D2C5680u
    drawn ^= (drawn << 15) & 0xEFC60000u
    return drawn ^ (drawn >> 18)


cdef bint is_twister(source) except -1:
    """Return whether a ``random.Random`` is in memory what ``Twister`` says."""
    cdef Twister *twister = <Twister *><PyObject *>source
    cdef Py_ssize_t place
    cdef tuple state = source.getstate()[1]
    if Random.__base__.__basicsize__ < <Py_ssize_t>sizeof(Twister) or len(state) != 625:
        return False
    for place in range(624):
        if twister.words[place] != <uint32_t>state[place]:
            return False
    return twister.position == <int>state[624]


cdef bint TWISTER = is_twister(Random(1))


cdef int shuffle(object source, Py_ssize_t count, int32_t *order) except -1:
    """Fill ``order`` with what ``random.sample(range(count), count)`` gives, leaving ``source`` as it would.

    A draw below a bound takes the upper bits of one 32-bit word, and is repeated while it is too large. The loop has no
    branch for that: such a draw moves the last item onto itself, and its place in ``order`` is filled again.
    """
    cdef uint32_t left, chosen, fits
    cdef Py_ssize_t place
    cdef Twister *twister
    cdef Places pool
    if not TWISTER or type(source) is not Random:
        for place, found in enumerate(source.sample(range(count), count)):
            order[place] = found
        return 0
    twister = <Twister *><PyObject *>source
    pool = Places(count)
    for place in range(count):
        pool.values[place] = <int32_t>place
    left = <uint32_t>count
    while left:
        chosen = word(twister) >> (31 - highest(left))
        fits = chosen < left
        chosen = chosen if fits else left - 1
        order[0] = pool.values[chosen]
        pool.values[chosen] = pool.values[left - 1]
        order += fits
        left -= fits
    return 0


def shuffled(source: object, count: int) -> list[int]:
    """Return the order in which ``random.sample(population, count)`` gives all ``count`` items of a population.

    ``source`` is a ``random.Random``; it is left in the state ``sample`` leaves it in.
    """
    cdef Py_ssize_t index
    cdef Places order = Places(count)
    shuffle(source, order.count, order.values)
    return [order.values[index] for index in range(order.count)]


def increment(store: object, key: str, amount: object, ttl: object = None, least: object = None) -> object:
    """Add ``amount`` to a counter of an ``InMemoryCache`` as ``increment_cache`` does, and return the sum.

    A counter that starts lives ``ttl`` seconds, the cache's own time where that is None; a sum below ``least`` is kept
    as that. Raises ``Unserved``, before anything is written, where the counter is no number.
    """
    cdef dict entries, expiries
    cdef list heap
    cdef double now
    with store._increment_lock:
        entries, expiries, heap = store.cache_dict, store.ttl_dict, store.expiration_heap
        now = store._clock()
        if expired(expiries, key, now):
            entries.pop(key, None)
            expiries.pop(key, None)
        total = amount
        if key in entries:
            total = entries[key]
            if type(total) is not int and type(total) is not float:
                raise Unserved(decline.CACHED_VALUE)
            total = (total or 0) + amount
        if least is not None and total < least:
            total = least
        if len(entries) >= store.max_size_in_memory or store.max_size_per_item < 1:
            store.set_cache(key, total, ttl=ttl)
            return total
        while heap and ((<tuple>heap[0])[0] != expiries.get((<tuple>heap[0])[1]) or (<tuple>heap[0])[0] <= now):
            expiry, name = heappop(heap)
            if expiry == expiries.get(name):
                entries.pop(name, None)
                expiries.pop(name, None)
        entries[key] = total
        if key not in expiries or <double>expiries[key] < now:
            expiries[key] = now + <double>(store.default_ttl if ttl is None else ttl)
            heappush(heap, (expiries[key], key))
    return total


cdef object kept(dict entries, dict expiries, key, double now):
    """Read ``key`` as ``InMemoryCache.get_cache`` does at time ``now``, dropping it when it has expired."""
    value = entries.get(key)
    if value is None and key not in entries:
        return None
    if expired(expiries, key, now):
        entries.pop(key, None)
        expiries.pop(key, None)
        return None
    if value is None or type(value) is dict or type(value) is int or type(value) is float:
        return value
    raise Unserved(decline.CACHED_VALUE)


cdef bint expired(dict expiries, key, double now) except -1:
    expiry = expiries.get(key)
    return expiry is not None and now > <double>expiry


cdef double number(value) except? -1.0:
    """Return a count or a time as a C double; exact, or ``Unserved``."""
    cdef int overflow = 0
    cdef long long whole
    if type(value) is float and -INFINITY < <double>value < INFINITY:
        return value
    if type(value) is int:
        whole = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow == 0 and -EXACT < whole < EXACT:
            return <double>whole
    raise Unserved(decline.CACHED_VALUE)


cdef dict selected(dict entries, list keys):
    return {key: entries[key] for key in keys if key in entries}


cdef object drop(object store, list keys):
    """Take expired keys out of an in-memory cache."""
    for key in keys:
        store.cache_dict.pop(key, None)
        store.ttl_dict.pop(key, None)


cdef dict mapping(value):
    if value is not None and type(value) is not dict:
        raise Unserved(decline.CACHED_VALUE)
    return value


cdef double limit_of(value):
    """Return a limit as a C double that compares with sums of exact numbers as ``value`` does."""
    return INFINITY if value >= 2 * EXACT else -INFINITY if value <= -2 * EXACT else value


cdef class Limits:
    """The tokens and requests a minute of each deployment of a group, infinity where it has no limit."""

    cdef bint any
    cdef Numbers tokens
    cdef Numbers requests

    def __cinit__(self, list found):
        cdef Py_ssize_t place
        self.any = any([limit is not None for limit in found])
        self.tokens = Numbers(len(found))
        self.requests = Numbers(len(found))
        for place, limit in enumerate(found):
            self.tokens.values[place] = INFINITY if limit is None else limit_of(limit[0])
            self.requests.values[place] = INFINITY if limit is None else limit_of(limit[1])

    cdef bint has(self, Py_ssize_t place) noexcept:
        return self.tokens.values[place] < INFINITY or self.requests.values[place] < INFINITY

    cdef bint within(self, Py_ssize_t place, dict usages, minute, double tokens) except -1:
        """Return whether one more call of ``tokens`` tokens keeps the limit in this minute."""
        cdef double spent = 0.0, called = 0.0
        used = None if usages is None else usages.get(minute)
        if type(used) is dict:
            spent = number((<dict>used).get("tpm", 0))
            called = number((<dict>used).get("rpm", 0))
        elif used is not None or (usages is not None and minute in usages):
            raise Unserved(decline.CACHED_VALUE)
        return not (spent + tokens > self.tokens.values[place] or called + 1 > self.requests.values[place])

    cdef bint has_room(self, Py_ssize_t place, double spent, double tokens, double called) noexcept:
        """Return whether usage-based routing lets one more call go to a deployment with these counts."""
        return not (spent + tokens > self.tokens.values[place] or called + 1 >= self.requests.values[place])


cdef double calls_of(dict calls, id) except? -1.0:
    """Return the calls counted for a deployment, minus infinity where none are: that keeps every limit."""
    if calls is None or id not in calls:
        return -INFINITY
    return number(calls[id])


cdef list at(list models, list slots):
    """Return the deployments at ``slots``; another thread may be shortening the list meanwhile."""
    cdef Py_ssize_t slot
    listed = []
    for slot in slots:
        if not 0 <= slot < len(models):
            raise Changing(decline.LIST_CHANGING)
        listed.append(models[slot])
    return listed


cdef class Cooldowns:
    """The deployments of one router that cool down, as its cooldown cache tells."""

    cdef frozenset active
    cdef double until
    cdef dict entries
    cdef dict known
    cdef Snapshot seen

    cdef frozenset now(self, object store, dict known):
        """Return the ids cooling down; expired entries of ``known`` ids leave ``store`` as they do in stock."""
        cdef dict entries = store.cache_dict, expiries
        cdef double clock, moment, end, until = INFINITY
        if not entries:
            self.seen = None
            return NOTHING
        expiries = store.ttl_dict
        clock = store._clock()
        moment = time.time()
        if self.seen is not None and self.entries is entries and self.known is known and not self.seen.changed():
            if clock < self.until and moment < self.until:
                return self.active
        values = []
        active = []
        expired = []
        for key, value in entries.items():
            if type(key) is not str or not key.startswith("deployment:") or not key.endswith(":cooldown"):
                continue
            id = key[11:len(key) - 9]
            if id not in known:
                continue
            expiry = expiries.get(key)
            if expiry is not None and clock > <double>expiry:
                expired.append(key)
                continue
            if type(value) is not dict:
                raise Unserved(decline.COOLDOWN_VALUE)
            if not value:
                continue
            end = number(value["timestamp"]) + number(value["cooldown_time"])
            if end - moment <= 0:
                expired.append(key)
                continue
            if expiry is not None:
                if <double>expiry > end + 4.999:
                    raise Unserved(decline.COOLDOWN_KEPT)
                until = min(until, <double>expiry)
            until = min(until, end)
            values.append(value)
            active.append(id)
        for key in expired:
            entries.pop(key, None)
            expiries.pop(key, None)
        self.entries = entries
        self.known = known
        self.seen = Snapshot([entries, expiries, known, *values])
        self.until = until
        self.active = frozenset(active)
        return self.active


cdef class Group:
    """What is remembered of one model group: its deployments in order, and what choosing needs of each.

    A place is a deployment's position in the group. A wildcard group is chosen among copies that are ``rendered`` for
    the name asked for; ``listed`` are what they are copies of. Most groups stand together in the model list, from
    ``first`` on; of others ``scattered`` are the positions.
    """

    cdef list indices
    cdef list slots
    cdef Py_ssize_t first
    cdef Places scattered
    cdef list listed
    cdef list deployments
    cdef bint rendered
    cdef list ids
    cdef dict places
    cdef set blocked
    cdef list orders
    cdef object refusal
    cdef bint misplaced
    cdef object filters
    cdef bint plain
    cdef dict known
    cdef uint64_t known_version
    cdef Snapshot seen
    cdef Pool pool
    cdef frozenset cooling
    cdef dict keys
    cdef object keys_of
    cdef Limits strict_limits
    cdef Limits loose_limits
    cdef list api_bases
    cdef Prices prices
    cdef Latencies latencies
    cdef Latencies unmeasured
    cdef bint colons

    def __cinit__(
        self, object reader, str name, str team, list indices, list models, dict known, list rendered, str asked
    ):
        cdef Py_ssize_t place, count
        self.indices = indices
        self.slots = list(indices)
        self.known = known
        self.known_version = version(known)
        count = len(self.slots)
        self.listed = at(models, self.slots)
        self.first = self.slots[0] if count else 0
        if self.slots != list(range(self.first, self.first + count)):
            self.scattered = Places(count)
            for place in range(count):
                self.scattered.values[place] = self.slots[place]
        self.seen = Snapshot(reader.dicts(self.listed), reader.lists(self.listed))
        self.seen.watch()
        self.refusal, self.ids, self.blocked, self.orders, self.plain = reader.group(name, team, self.listed, known)
        self.misplaced = self.refusal is decline.MISPLACED
        self.rendered = rendered is not None
        self.deployments = self.listed if rendered is None else rendered
        if self.rendered and (len(rendered) != count or not self.plain):
            self.refusal = self.refusal or decline.DEPLOYMENT_UNCOPYABLE
        if self.refusal is None:
            self.filters = reader.filters(
                asked or name, self.deployments, self.ids, self.blocked, self.orders, name is not None and team is None
            )
        self.places = {id: place for place, id in enumerate(self.ids)}
        self.colons = any([":" in id for id in self.ids])
        self.keys = {}

    cdef bint changed(self, list indices, list models, dict known):
        """Return whether the router lists other deployments for the group now, or one of them has been edited."""
        cdef PyObject *now = <PyObject *>models
        cdef PyObject *listed = <PyObject *>self.listed
        cdef Py_ssize_t place, slot, count = PyList_GET_SIZE(listed), total = PyList_GET_SIZE(now)
        if indices is not self.indices or known is not self.known or version(known) != self.known_version:
            return True
        if not same(self.slots, indices) or (self.rendered and total != count):
            return True
        if self.scattered is None:
            if self.first + count > total:
                return True
            if count and memcmp(list_items(now) + self.first, list_items(listed), count * sizeof(PyObject *)):
                return True
            return self.seen.changed()
        for place in range(count):
            slot = self.scattered.values[place]
            if slot >= total or PyList_GET_ITEM(now, slot) != PyList_GET_ITEM(listed, place):
                return True
        return self.seen.changed()

    cdef Pool available(self, frozenset cooling):
        """Return the pool without the deployments ``cooling`` names; it is kept until another set is left out."""
        cdef frozenset out
        if self.pool is not None and self.cooling is cooling:
            return self.pool
        out = frozenset([id for id in cooling if id in self.places]) if cooling else NOTHING
        if self.pool is None or out != self.pool.out:
            self.pool = Pool(self, out, self.left(out), list(range(len(self.ids))))
        self.cooling = cooling
        return self.pool

    cdef list left(self, frozenset out):
        """Return the places of deployments that are neither blocked nor ``out``, of the first order that has any."""
        places = [place for id, place in self.places.items() if place not in self.blocked and id not in out]
        if self.orders is None:
            return places
        orders = [self.orders[place] for place in places if self.orders[place] is not None]
        if not orders:
            return places
        first = min(orders)
        return [place for place in places if self.orders[place] == first]

    cdef dict keys_for(self, object purpose):
        """Return the map from cache keys to places, emptied when its purpose is another or it has grown large."""
        if self.keys_of != purpose or len(self.keys) > 4096:
            self.keys.clear()
            self.keys_of = purpose
        return self.keys

    cdef Limits limits(self, object reader, bint strict):
        """Return the deployments' limits; ``strict`` takes 0 for a limit."""
        if strict:
            if self.strict_limits is None:
                self.strict_limits = Limits(reader.limits(self.deployments, True))
            return self.strict_limits
        if self.loose_limits is None:
            self.loose_limits = Limits(reader.limits(self.deployments, False))
        return self.loose_limits


cdef class Pool:
    """The deployments of a group that can be chosen now, in the group's order."""

    cdef list deployments
    cdef list places
    cdef frozenset out
    cdef bytes member
    cdef bytes considered
    cdef Py_ssize_t count
    cdef bint weighed
    cdef Numbers sums
    cdef list order
    cdef list order_costs
    cdef dict order_usage
    cdef uint64_t order_version
    cdef Latencies introduced
    cdef Busy busy
    cdef Named named

    def __cinit__(self, Group group, frozenset out, list places, list considered):
        chosen = frozenset(places)
        read = frozenset(considered)
        self.places = places
        self.deployments = group.deployments  # most groups are whole: no list of their own
        if len(places) != len(group.deployments):
            self.deployments = [group.deployments[place] for place in places]
        self.out = out
        self.count = len(places)
        self.member = bytes([place in chosen for place in range(len(group.ids))])
        self.considered = bytes([place in read for place in range(len(group.ids))])

    cdef Numbers filled(self, double value):
        """Return ``value`` for each place in the pool, infinity for the others."""
        cdef Py_ssize_t place
        cdef Numbers found = Numbers(len(self.member))
        for place in range(found.count):
            found.values[place] = value if self.member[place] else INFINITY
        return found

    cdef object drawn(self, object reader, object source):
        """Return one deployment as ``random.choices`` with weights, or ``random.choice`` without, would draw it."""
        cdef double target
        cdef Py_ssize_t low, high, middle
        cdef Numbers sums
        if not self.weighed:
            found = reader.cumulative(self.deployments)
            if found is not None:
                sums = Numbers(self.count)
                for low in range(self.count):
                    sums.values[low] = found[low]
                self.sums = sums
            self.weighed = True
        sums = self.sums
        if sums is None:
            return source.choice(self.deployments)
        target = <double>source.random() * sums.values[self.count - 1]
        low = 0
        high = self.count - 1
        while low < high:
            middle = (low + high) >> 1
            if target < sums.values[middle]:
                high = middle
            else:
                low = middle + 1
        return self.deployments[low]


cdef class Prices:
    """What a token in and a token out of each deployment cost together, kept while the cost map's rows are the same."""

    cdef list costs
    cdef tuple names
    cdef list rows
    cdef Snapshot seen
    cdef dict table
    cdef uint64_t table_version

    def __cinit__(self, object reader, dict table, list deployments):
        self.table = table
        self.table_version = version(table)
        self.names = reader.priced_names(deployments)
        self.rows = list(map(table.get, self.names))
        self.seen = Snapshot([row for row in self.rows if row is not None])
        self.seen.watch()
        self.costs = reader.costs(deployments)

    cdef bint changed(self, dict table):
        cdef Py_ssize_t index
        if table is not self.table or version(table) != self.table_version:
            for index, name in enumerate(self.names):
                if table.get(name) is not self.rows[index]:
                    return True
            self.table = table
            self.table_version = version(table)
        return self.seen.changed()


cdef class Busy:
    """The first of a pool's deployments with the fewest requests in flight, kept until a cache is written to."""

    cdef object name
    cdef dict entries
    cdef dict expiries
    cdef uint64_t entries_version
    cdef uint64_t expiries_version
    cdef double until
    cdef Py_ssize_t first

    def __cinit__(self, Group group, Pool pool, store, name, double now):
        cdef dict entries = store.cache_dict, expiries = store.ttl_dict, keys
        cdef double count, least = INFINITY
        cdef Py_ssize_t place
        cdef list gone = []
        cdef bytearray counted = bytearray(len(pool.member))
        self.name = name
        self.entries = entries
        self.expiries = expiries
        self.entries_version = version(entries)  # what is written from here on is looked at the next time
        self.expiries_version = version(expiries)
        self.until = INFINITY
        prefix = f"{name}_request_count:"
        keys = group.keys_for(prefix)
        if len(entries) > 4 * pool.count + 256:
            entries = selected(entries, [prefix + group.ids[place] for place in pool.places])
        for key, value in entries.items():
            found = keys.get(key)
            if found is None:
                found = group.places.get(key[len(prefix):], -1) if type(key) is str and key.startswith(prefix) else -1
                keys[key] = found
            place = found
            if place < 0 or not pool.member[place]:
                continue
            expiry = expiries.get(key)
            if expiry is not None and now > <double>expiry:
                gone.append(key)
                continue
            if expiry is not None:
                self.until = min(self.until, <double>expiry)
            if value is not None and type(value) is not int:
                raise Unserved(decline.CACHED_VALUE)
            counted[place] = True
            count = 0.0 if value is None else number(value)
            if count < least or (count == least and place < self.first):
                least = count
                self.first = place
        drop(store, gone)
        for place in pool.places:  # all that have no count have none in flight: the first of them is enough
            if not counted[place]:
                if least > 0.0 or (least == 0.0 and place < self.first):
                    self.first = place
                break

    cdef bint changed(self, store, name, double now):
        """Return whether somebody wrote into the cache since, or a count has expired at time ``now``."""
        if store.cache_dict is not self.entries or store.ttl_dict is not self.expiries or name != self.name:
            return True
        if version(self.entries) != self.entries_version or version(self.expiries) != self.expiries_version:
            return True
        return now > self.until


cdef class Named:
    """The deployments a usage map names, in its order: their places in the group, -1 for one of another."""

    cdef list ids
    cdef Py_ssize_t count
    cdef Places places

    def __cinit__(self, dict usage, dict places):
        cdef Py_ssize_t index
        self.ids = list(usage)
        self.count = len(self.ids)
        self.places = Places(self.count)
        for index, id in enumerate(self.ids):
            self.places.values[index] = places.get(id, -1)

    cdef bint all(self, dict usage) noexcept:
        """Return whether ``usage`` names these, and as the same objects."""
        cdef Py_ssize_t position = 0, index = 0
        cdef PyObject *id
        cdef PyObject *value
        if len(usage) != self.count:
            return False
        while PyDict_Next(usage, &position, &id, &value):
            if id is not PyList_GET_ITEM(<PyObject *>self.ids, index):
                return False
            index += 1
        return True


cdef struct Measured:
    # What is remembered of one entry of a latency map. The map's version says that it holds ``entry``, and ``version``
    # that the entry holds ``samples``.
    PyObject *entry
    uint64_t version
    PyObject *samples
    double mean
    Py_ssize_t size


cdef class Latencies:
    """The mean latency of every deployment a latency map names, kept while its samples are the same objects.

    ``places`` are the deployments' places in the group, -1 for one of another; ``seen`` are the samples, ``width`` of
    them an entry.
    """

    cdef dict usage
    cdef uint64_t usage_version
    cdef list means
    cdef Py_ssize_t count
    cdef Py_ssize_t width
    cdef Measured *entries
    cdef Places places
    cdef PyObject **seen

    def __cinit__(self, dict usage, dict places):
        cdef Py_ssize_t index
        self.usage = usage
        self.usage_version = version(usage)
        items = list(usage.items())
        self.entries = <Measured *>PyMem_Calloc(max(len(items), 1), sizeof(Measured))
        if self.entries is NULL:
            raise MemoryError
        self.count = len(items)
        self.places = Places(self.count)
        self.means = [None] * self.count
        for index, (id, entry) in enumerate(items):
            self.entries[index].entry = <PyObject *>entry
            self.places.values[index] = places.get(id, -1)
            if self.places.values[index] >= 0 and type(entry) is not dict:
                raise Unserved(decline.LATENCIES_MAP)

    def __dealloc__(self):
        cdef Py_ssize_t index
        for index in range(self.count):
            self.release(index)
        PyMem_Free(self.entries)
        PyMem_Free(self.seen)

    cdef void release(self, Py_ssize_t index) noexcept:
        cdef Py_ssize_t place
        for place in range(index * self.width, index * self.width + self.entries[index].size):
            Py_DECREF(<object>self.seen[place])
        self.entries[index].size = 0

    cdef int widen(self, Py_ssize_t width) except -1:
        """Make room for ``width`` samples an entry."""
        cdef Py_ssize_t index
        cdef PyObject **seen = <PyObject **>PyMem_Malloc(max(self.count * width, 1) * sizeof(PyObject *))
        if seen is NULL:
            raise MemoryError
        for index in range(self.count):
            memcpy(seen + index * width, self.seen + index * self.width, self.entries[index].size * sizeof(PyObject *))
        PyMem_Free(self.seen)
        self.seen = seen
        self.width = width
        return 0

    cdef bint changed(self, dict usage):
        return usage is not self.usage or version(usage) != self.usage_version

    cdef inline bint known(self, Py_ssize_t index) noexcept:
        """Return whether the samples of entry ``index`` are those its mean was taken of."""
        cdef Measured *measured = &self.entries[index]
        return (
            measured.samples is not NULL
            and accel_dict_version(measured.entry) == measured.version
            and PyList_GET_SIZE(measured.samples) == measured.size
            and not memcmp(
                list_items(measured.samples), self.seen + index * self.width, measured.size * sizeof(PyObject *)
            )
        )

    cdef int read(self, Py_ssize_t index) except -1:
        """Take the mean of the samples of entry ``index``, 0.0 where it has none."""
        cdef Measured *measured = &self.entries[index]
        cdef dict entry = <dict>measured.entry
        cdef list samples = times(entry.get("latency", NO_SAMPLES))
        cdef Py_ssize_t place, size = len(samples)
        cdef PyObject **seen
        mean = average(samples)
        if size > self.width:
            self.widen(size)
        seen = self.seen + index * self.width
        for place in range(size):
            Py_INCREF(samples[place])
        self.release(index)
        for place in range(size):
            seen[place] = PyList_GET_ITEM(<PyObject *>samples, place)
        self.means[index] = mean
        measured.mean = mean
        measured.size = size
        # Without a list of its own an entry is read again at each choice.
        measured.samples = <PyObject *>samples if "latency" in entry else NULL
        measured.version = version(entry)
        return 0

    cdef inline void fetch(self, Py_ssize_t index, list bases) noexcept:
        """Bring nearer what reporting entry ``index`` will write to: the reference counts of its key and its mean."""
        cdef Py_ssize_t place = self.places.values[index]
        if place >= 0:
            accel_fetch(PyList_GET_ITEM(<PyObject *>bases, place))
            accel_fetch(PyList_GET_ITEM(<PyObject *>self.means, index))

    cdef object first_token(self, Py_ssize_t index, percentile):
        """Return the time to the first token of entry ``index``; the mean where it has no samples of that."""
        samples = times((<dict>self.entries[index].entry).get("time_to_first_token_seconds", NO_SAMPLES))
        if not samples:
            return self.means[index]
        if percentile is None:
            return average(samples)
        first = sorted(samples)[ceil(len(samples) * percentile) - 1]
        if type(first) is not float:
            raise Unserved(decline.LATENCIES_TYPE)
        return first


cdef list times(samples):
    if type(samples) is not list:
        raise Unserved(decline.LATENCIES_TYPE)
    for sample in samples:
        if not 0.0 <= number(sample) < INFINITY:
            raise Unserved(decline.LATENCY_NO_TIME)
    return samples


cdef double average(list samples) except -1.0:
    """Return the mean as stock takes it: ``sum`` over ``len``, 0.0 of nothing."""
    return sum(samples) / len(samples) if samples else 0.0


cdef Py_ssize_t nth(int32_t *order, double *slow, Py_ssize_t left, Py_ssize_t wanted) noexcept:
    """Return the entry at position ``wanted`` when the ``left`` ones of ``order`` are sorted by time, ties as they are.

    Quickselect whose partitions keep the order of equals; ``order`` is overwritten.
    """
    cdef Py_ssize_t rank, less, equal, count
    cdef double pivot
    while True:
        pivot = slow[order[left >> 1]]
        less = equal = 0
        for rank in range(left):
            less += slow[order[rank]] < pivot
            equal += slow[order[rank]] == pivot
        if less <= wanted < less + equal:
            wanted -= less
            for rank in range(left):
                if slow[order[rank]] == pivot:
                    if wanted == 0:
                        return order[rank]
                    wanted -= 1
        count = left
        left = 0
        for rank in range(count):
            if (slow[order[rank]] < pivot) if wanted < less else (slow[order[rank]] > pivot):
                order[left] = order[rank]
                left += 1
        if wanted >= less:
            wanted -= less + equal


cdef Py_ssize_t usage_key(Group group, key, str minute) except -2:
    """Return twice the place of the deployment whose tokens of ``minute`` are kept under ``key``, one more for its
    requests; -1 for any other key."""
    if type(key) is not str:
        return -1
    name, _, kept_minute = (<str>key).rpartition(":")
    name, _, kind = name.rpartition(":")
    if kept_minute != minute or kind not in ("tpm", "rpm"):
        return -1
    id, _, model = name.partition(":")
    place = group.places.get(id)
    if place is None or group.deployments[place]["litellm_params"]["model"] != model:
        return -1
    return 2 * place + (kind == "rpm")


cdef class Index:
    """What is remembered of one router: its settings, its cooldowns and its model groups."""

    cdef object router
    cdef bint judged
    cdef uint64_t state_version
    cdef object refusal
    cdef str strategy
    cdef object selector
    cdef tuple parts
    cdef tuple sizes
    cdef Cooldowns cooldowns
    cdef object health
    cdef dict groups
    cdef object listings
    cdef tuple disagreeing

    def __cinit__(self, object reader, object router):
        self.router = router
        self.cooldowns = Cooldowns()
        self.health = reader.health()
        self.groups = {}
        self.listings = reader.listings()

    cdef object judge(self, object reader, router, dict state):
        """Read the router's settings; ``parts`` are its caches and selector, ``sizes`` how many attributes each has."""
        self.judged = False
        self.state_version = version(state)
        self.refusal, self.strategy, self.selector, self.parts = reader.router(router)
        self.sizes = tuple([len(part.__dict__) for part in self.parts])
        self.judged = True

    cdef bint grown(self):
        """Return whether a part has attributes it did not have, which may hide methods of its class."""
        cdef Py_ssize_t index
        for index in range(len(self.parts)):
            if len(self.parts[index].__dict__) != <Py_ssize_t>self.sizes[index]:
                return True
        return False

    cdef Group group(self, object reader, str name, str team, list indices, list model_list, dict known):
        """Return the model group called ``name``, by a ``team`` if one is given."""
        cdef object key = name if team is None else (team, name)
        cdef Group group = self.groups.get(key)
        if group is None or group.changed(indices, model_list, known):
            group = Group(reader, name, team, indices, model_list, known, None, None)
            if group.changed(indices, model_list, known):
                raise Changing(decline.LIST_CHANGING)
            self.groups[key] = group
        return group

    cdef Group having(self, object reader, str model, list model_list, dict known):
        """Return the deployments whose own model is ``model``."""
        roster = self.listings.roster(model_list)
        cdef list indices = roster.owners.get(model)
        cdef Group group = roster.groups.get(model)
        if indices is None:
            raise Unserved(decline.NO_DEPLOYMENT_OF_MODEL)
        if group is None or group.changed(indices, model_list, known):
            group = roster.groups[model] = Group(reader, None, None, indices, model_list, known, None, model)
        return group

    cdef Group wildcard(self, object reader, source, str name, str team, dict known):
        """Return the group of the first pattern of ``source`` that matches, or None."""
        cdef Group group
        matched = self.listings.matching(source, team, name)
        if matched is None:
            return None
        group = matched.groups.get(name)
        if group is None or group.changed(group.indices, matched.models, known):
            indices = list(range(len(matched.models)))
            rendered = reader.rendered(source, matched.asked)
            group = matched.groups[name] = Group(reader, None, team, indices, matched.models, known, rendered, name)
        return group


cdef class Chooser:
    """Chooses deployments for routers whose settings it fully understands; declines every other call.

    ``gate`` counts what is declined; ``reader`` reads routers and deployments as LiteLLM does
    (``components.routing.Reader``).
    """

    cdef Gate gate
    cdef object reader
    cdef object router_type
    cdef object cache_type
    cdef object memory_type
    cdef frozenset cache_fields
    cdef frozenset memory_fields
    cdef object callback_type
    cdef object no_filter
    cdef Bindings code
    cdef dict litellm
    cdef dict logging
    cdef dict router_levels
    cdef dict levels
    cdef object random
    cdef dict indexes

    def __init__(self, gate: Gate, reader: object) -> None:
        self.gate = gate
        self.reader = reader
        self.router_type = reader.router_type
        self.cache_type = reader.cache_type
        self.memory_type = reader.memory_type
        self.cache_fields = reader.cache_fields
        self.memory_fields = reader.memory_fields
        self.callback_type = reader.callback_type
        self.no_filter = reader.no_filter
        self.code = Bindings(reader.code)
        self.litellm = reader.litellm
        self.logging = reader.logging
        self.router_levels = reader.router_log._cache
        self.levels = reader.log._cache
        self.random = reader.random
        self.indexes = {}

    def forget(self) -> None:
        """Drop everything remembered of any router."""
        self.indexes.clear()

    def choose(
        self,
        router: object,
        model: object,
        messages: object = None,
        input: object = None,
        specific_deployment: object = False,
        request_kwargs: object = None,
    ) -> object:
        """Return the deployment ``Router.get_available_deployment`` would choose, or ``DECLINED``."""
        try:
            return self.settled(router, model, messages, input, specific_deployment, request_kwargs, False)
        except Unserved as reason:
            return self.gate.decline(reason.args[0])

    def choose_async(
        self,
        router: object,
        model: object,
        request_kwargs: object,
        messages: object = None,
        input: object = None,
        specific_deployment: object = False,
    ) -> object:
        """Return the deployment ``Router.async_get_available_deployment`` would choose, or ``DECLINED``."""
        try:
            return self.settled(router, model, messages, input, specific_deployment, request_kwargs, True)
        except Unserved as reason:
            return self.gate.decline(reason.args[0])

    def check(self, router: object) -> object:
        """Return the in-memory cache of a router that is understood. Raises ``Unserved``."""
        if type(router) is not self.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        return self.check_cache(router.__dict__["cache"])

    def check_process(self) -> None:
        """Raise ``Unserved`` where LiteLLM's routing is patched, or settings make it log or trace what it does."""
        if self.code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        self.check_settings()

    def check_cache(self, cache: object) -> object:
        """Return the in-memory half of a cache without Redis. Raises ``Unserved``."""
        self.check_process()
        store = cache.in_memory_cache
        if type(cache) is not self.cache_type or type(store) is not self.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        if not cache.__dict__.keys() <= self.cache_fields or not store.__dict__.keys() <= self.memory_fields:
            raise Unserved(decline.ROUTER_PART_METHODS)
        if cache.redis_cache is not None:
            raise Unserved(decline.ROUTING_REDIS)
        return store

    def listed(self, router: object, model_name: object, model_alias: object = None, team_id: object = None) -> object:
        """Return the deployments ``Router.get_all_deployments`` would list, or ``DECLINED``."""
        try:
            return self.deployments(router, model_name, model_alias, team_id)
        except Unserved as reason:
            return self.gate.decline(reason.args[0])

    cdef list deployments(self, router, name, alias, team):
        cdef dict state, known
        cdef Group group
        if type(router) is not self.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        if self.code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        state = router.__dict__
        if type(name) is not str or alias is not None:
            raise Unserved(decline.MODEL_NAME_TYPE)
        if team is not None and (team, name) in state["team_model_to_deployment_indices"]:
            raise Unserved(decline.TEAM_DEPLOYMENTS)
        known = state["model_id_to_deployment_index_map"]
        indices = (<dict>state["model_name_to_deployment_indices"]).get(name)
        if type(indices) is not list or not LISTING_METHODS.isdisjoint(state):
            raise Unserved(decline.UNKNOWN_GROUP)
        group = self.index(router).group(self.reader, name, None, indices, state["model_list"], known)
        if group.refusal is not None:
            raise Unserved(group.refusal)
        return group.deployments.copy()

    cdef object settled(self, router, model, messages, input, specific, request, bint asynchronous):
        """Serve a call. While another thread removes a deployment, wait, once only for lists that go on to disagree.

        In an event loop nobody may wait: such a choice is left to stock.
        """
        cdef Index index
        if running_loop() is not None:
            return self.serve(router, model, messages, input, specific, request, asynchronous)
        for _ in range(PATIENCE):
            try:
                return self.serve(router, model, messages, input, specific, request, asynchronous)
            except Changing:
                index = self.index(router)
                lists = self.lists(router.__dict__)
                if lists == index.disagreeing:
                    raise
                time.sleep(PAUSE)
        index.disagreeing = lists
        return self.serve(router, model, messages, input, specific, request, asynchronous)

    cdef tuple lists(self, dict state):
        """Return what tells whether the router's lists have been written to."""
        known, table = state["model_id_to_deployment_index_map"], state["model_name_to_deployment_indices"]
        return len(state["model_list"]), version(known), version(table)

    cdef object serve(self, router, model, messages, input, specific, request, bint asynchronous):
        cdef Index index
        cdef Group group
        cdef Pool pool
        cdef dict state, known
        if type(router) is not self.router_type:
            raise Unserved(decline.ROUTER_SUBCLASS)
        if self.code.changed():
            raise Unserved(decline.ROUTING_PATCHED)
        self.check_settings()
        index = self.index(router)
        state = router.__dict__
        if not index.judged or version(state) != index.state_version or index.grown():
            index.judge(self.reader, router, state)
        if index.refusal is not None:
            raise Unserved(index.refusal)
        if index.strategy == "usage-based-routing":
            asynchronous = False  # stock's coroutine hands this strategy to its synchronous sibling
        elif index.strategy == "cost-based-routing" and not asynchronous:
            raise Unserved(decline.NO_SYNC_CHOICE)
        self.check_router(state)
        if type(model) is not str:
            raise Unserved(decline.MODEL_NAME_TYPE)
        known = state["model_id_to_deployment_index_map"]
        if len(<list>state["model_list"]) != len(known):
            raise Changing(decline.SHARED_ID)
        if request is None and asynchronous:
            raise Unserved(decline.NO_REQUEST)
        team, caller, web_search = self.check_request(request, asynchronous)
        name = model
        if specific is True:
            if name in state["model_names"] or name in state["model_name_to_deployment_indices"]:
                raise Unserved(decline.SPECIFIC_LIKE_GROUP)
            group = index.having(self.reader, name, state["model_list"], known)
        elif name not in state["model_names"] and name in known:
            return index.listings.deployment(router, name, at(state["model_list"], [known[name]])[0])
        else:
            name = self.group_name(state, model)
            group = self.find(index, state, name, team, caller, known)
        if group.refusal is not None:
            raise (Changing if group.misplaced else Unserved)(group.refusal)
        pool = group.available(index.cooldowns.now(self.cooldown_store(state), known))
        if pool.count == 0:
            raise Unserved(decline.NONE_AVAILABLE)
        if asynchronous:
            self.check_callbacks()
        granted = None
        if caller is not None and specific is not True and name in state["model_names"]:
            granted = group.filters.granted(router, caller)
        if granted is not None or self.narrows(group, state, messages, input, request, web_search):
            left = group.filters.left(
                router, index.health, pool.out, granted, messages, input, request, web_search, asynchronous
            )
            if left is not None:
                if left.pool is None:
                    left.pool = Pool(group, pool.out, left.places, left.considered)
                pool = left.pool
                if pool.count == 0:
                    raise Unserved(decline.NONE_AVAILABLE)
        if index.strategy == "simple-shuffle":
            chosen = pool.drawn(self.reader, self.random)
        else:
            called = model if asynchronous else name
            chosen = self.measured(index, group, pool, state, called, messages, input, request, asynchronous)
        if request is not None:
            for key in STEERING_KEYS:
                if key in <dict>request:
                    del (<dict>request)[key]
        if group.rendered:
            place = group.places[chosen["model_info"]["id"]]
            copy = self.reader.copied(group.listed[place])
            copy["litellm_params"]["model"] = chosen["litellm_params"]["model"]
            return copy
        return chosen

    cdef bint narrows(self, Group group, dict state, messages, input, request, bint web) except -1:
        """Return whether something beside cooldowns may leave out deployments for this request."""
        if web or state["enable_health_check_routing"] or state["enable_tag_filtering"] or group.filters.tagging:
            return True
        if state["enable_pre_call_checks"] and (messages is not None or input is not None):
            return True
        if request is None:
            return False
        if (<dict>request).get("enable_tag_filtering") is True:
            return True
        for key in STEERING_KEYS:
            if key in <dict>request:
                return True
        return False

    cdef Group find(self, Index index, dict state, str name, team, caller, dict known):
        """Return the model group a request reaches by ``name``: its team's, the router's, or a wildcard's."""
        cdef Group group
        cdef list model_list = state["model_list"]
        cdef dict table = state["model_name_to_deployment_indices"]
        indices = None if team is None else (<dict>state["team_model_to_deployment_indices"]).get((team, name))
        if indices:
            if type(indices) is not list or name in table:
                raise Unserved(decline.TEAM_DEPLOYMENTS)
            return index.group(self.reader, name, team, indices, model_list, known)
        if name in state["model_names"]:
            indices = table.get(name)
            if type(indices) is not list:
                index.groups.pop(name, None)
                raise Unserved(decline.UNKNOWN_GROUP)
            return index.group(self.reader, name, None, indices, model_list, known)
        if name in table or state["default_deployment"] is not None:
            raise Unserved(decline.UNKNOWN_GROUP)
        if team is not None:
            names = index.listings.roster(model_list).names
            if name in names or (team, name) in names:
                raise Unserved(decline.TEAM_DEPLOYMENTS)
        elif caller is not None and any(
            [name == called for _, called in list(state["team_model_to_deployment_indices"])]
        ):
            raise Unserved(decline.TEAM_DEPLOYMENTS)
        group = index.wildcard(self.reader, state["pattern_router"], name, None, known)
        if group is None and team is not None and team in state["team_pattern_routers"]:
            group = index.wildcard(self.reader, state["team_pattern_routers"][team], name, team, known)
        if group is None:
            raise Unserved(decline.UNKNOWN_GROUP)
        return group

    cdef Index index(self, router):
        cdef size_t key = <size_t><PyObject *>router
        cdef Index index = self.indexes.get(key)
        if index is None or index.router() is not router:
            indexes = self.indexes
            index = Index(self.reader, weakref.ref(router, lambda gone: indexes.pop(key, None)))
            self.indexes[key] = index
        return index

    cdef object check_settings(self):
        """Raise ``Unserved`` where process-wide settings make stock log or trace a choice."""
        if self.litellm["set_verbose"] or self.logging["set_verbose"]:
            raise Unserved(decline.ROUTING_VERBOSE)
        if self.router_levels.get(20) is not False and self.reader.router_log.isEnabledFor(20):
            raise Unserved(decline.LOGGING.of("LiteLLM Router", "INFO"))
        if self.levels.get(10) is not False and self.reader.log.isEnabledFor(10):
            raise Unserved(decline.LOGGING.of("LiteLLM", "DEBUG"))
        proxy = sys.modules.get("litellm.proxy.proxy_server")
        if proxy is not None and getattr(proxy, "open_telemetry_logger", None) is not None:
            raise Unserved(decline.ROUTING_TRACED)

    cdef object check_router(self, dict state):
        """Raise ``Unserved`` where one of the router's own containers asks for more than a plain choice."""
        for name, reason in EMPTY_CONTAINERS:
            if state.get(name):
                raise Unserved(reason)

    cdef object group_name(self, dict state, str model):
        """Return the model group that ``model`` names, through the router's aliases."""
        name = model
        aliases = state["model_group_alias"]
        if aliases:
            target = aliases.get(model)
            if type(target) is dict:
                target = target.get("model")
            if type(target) is str and target:
                name = target
            elif target is not None:
                raise Unserved(decline.ALIAS_TYPE)
        renamed = self.litellm["model_alias_map"]
        if renamed and name in renamed:
            raise Unserved(decline.MODEL_ALIAS_MAP)
        return name

    cdef tuple check_request(self, request, bint asynchronous):
        """Return a request's team, its caller, and whether it searches the web.

        Raises ``Unserved`` where its arguments change the choice in ways only stock knows, or stock would change them.
        """
        cdef dict arguments, metadata
        if request is None:
            return None, None, False
        if type(request) is not dict:
            raise Unserved(decline.REQUEST_TYPE)
        arguments = request
        for key in arguments:
            if type(key) is not str:
                raise Unserved(decline.REQUEST_TYPE)
            if key in UNSERVED_KEYS:
                raise Unserved(decline.REQUEST_STEERS.of(key))
        for key in UNSERVED_UNLESS_NONE:
            if arguments.get(key) is not None:
                raise Unserved(decline.REQUEST_STEERS.of(key))
        team = caller = None
        for field in ("metadata", "litellm_metadata"):
            bucket = arguments.get(field)
            if bucket is None:
                continue
            if type(bucket) is not dict:
                raise Unserved(decline.METADATA_TYPE)
            metadata = bucket
            if asynchronous:
                for key in UNSERVED_METADATA:
                    if key in metadata:
                        raise Unserved(decline.EARLIER_DECISION)
            if team is None:
                team = metadata.get("user_api_key_team_id")
                if not isinstance(team, str) or not team:
                    team = None
                elif type(team) is not str:
                    raise Unserved(decline.METADATA_TYPE)
            caller = caller or metadata.get("user_api_key_auth")
        web_search = False
        if asynchronous:
            tools = arguments.get("tools")
            if tools:
                web_search = self.reader.searches_web(tools)
            compaction = arguments.get("_context_compaction_state")
            if compaction is not None:
                self.reader.disarm(compaction)
        return team, caller, web_search

    cdef object check_callbacks(self):
        """Raise ``Unserved`` where a callback filters deployments."""
        callbacks = self.litellm["callbacks"]
        if type(callbacks) is not list:
            raise Unserved(decline.ROUTING_CALLBACKS_TYPE)
        for callback in callbacks:
            if type(callback) is not str and isinstance(callback, self.callback_type):
                function = getattr(type(callback), "async_filter_deployments", None)
                if function is not self.no_filter and not self.reader.keeps_all(function):
                    raise Unserved(decline.ROUTING_FILTERED.of(type(callback).__name__))
                if "async_filter_deployments" in callback.__dict__:
                    raise Unserved(decline.ROUTING_FILTERED.of(type(callback).__name__))

    cdef object cooldown_store(self, dict state):
        """Return the in-memory cache the router keeps its cooldowns in."""
        cooldowns = state["cooldown_cache"]
        shared = cooldowns._cooldown_store
        store = cooldowns.in_memory_cache
        if type(shared) is not self.cache_type or type(store) is not self.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        if shared.in_memory_cache is not store or cooldowns.cache is not state["cache"]:
            raise Unserved(decline.ROUTING_CACHE)
        if shared.redis_cache is not None or state["cache"].redis_cache is not None:
            raise Unserved(decline.ROUTING_REDIS)
        return store

    cdef object measured(
        self, Index index, Group group, Pool pool, dict state, group_name, messages, input, request, bint asynchronous
    ):
        """Return the pick of a strategy that looks at what has been measured."""
        strategy = index.strategy
        cache = state["cache"]
        if not group.plain:
            raise Unserved(decline.DEPLOYMENT_UNCOPYABLE)
        if self.litellm["redact_user_api_key_info"]:
            raise Unserved(decline.ROUTING_REDACTED)
        if asynchronous and self.litellm["service_callback"]:
            raise Unserved(decline.ROUTING_SERVICES)
        if index.selector.router_cache is not cache:
            raise Unserved(decline.ROUTING_CACHE)
        store = cache.in_memory_cache
        if type(cache) is not self.cache_type or type(store) is not self.memory_type:
            raise Unserved(decline.ROUTING_CACHE)
        if strategy == "least-busy":
            return self.least_busy(group, pool, store, group_name)
        if strategy == "cost-based-routing":
            return self.cheapest(group, pool, store, group_name, messages, input)
        if strategy == "latency-based-routing":
            return self.fastest(group, pool, store, index.selector, group_name, messages, input, request)
        if strategy == "usage-based-routing-v2":
            return self.least_used(group, pool, store, messages, input, asynchronous)
        return self.least_used_since(group, pool, store, group_name, messages, input)

    cdef object least_busy(self, Group group, Pool pool, store, group_name):
        """Return the first of the deployments with the fewest requests in flight."""
        cdef double now = store._clock()
        cdef Busy busy = pool.busy
        if busy is None or busy.changed(store, group_name, now):
            busy = pool.busy = Busy(group, pool, store, group_name, now)
        return group.deployments[busy.first]

    cdef object cheapest(self, Group group, Pool pool, store, group_name, messages, input):
        """Return the cheapest deployment within its limits; of equals the one first in the group's cost map."""
        cdef dict usage = mapping(kept(store.cache_dict, store.ttl_dict, f"cost_map:{group_name}", store._clock()))
        cdef Limits limits = group.limits(self.reader, False)
        cdef Py_ssize_t place
        minute = self.reader.minute("lowest_cost")
        if group.prices is None or group.prices.changed(self.litellm["model_cost"]):
            group.prices = Prices(self.reader, self.litellm["model_cost"], group.deployments)
        usage = usage or None
        if pool.order is None or pool.order_costs is not group.prices.costs or pool.order_usage is not usage or (
            usage is not None and version(usage) != pool.order_version
        ):
            rank = pool.places
            if usage is not None:
                self.introduce(group, pool, usage, minute, False)
                named = [found for found in map(group.places.get, list(usage)) if found is not None]
                rank = [place for place in named if pool.member[place]]
                pool.order_version = version(usage)
            pool.order = sorted(rank, key=group.prices.costs.__getitem__)
            pool.order_costs = group.prices.costs
            pool.order_usage = usage
        tokens = None
        for place in pool.order:
            if not limits.has(place):
                return group.deployments[place]
            if tokens is None:
                tokens = self.reader.tokens("lowest_cost", messages, input)
            if limits.within(place, None if usage is None else mapping(usage.get(group.ids[place])), minute, tokens):
                return group.deployments[place]
        raise Unserved(decline.NONE_WITHIN_LIMITS)

    cdef object introduce(self, Group group, Pool pool, dict usage, minute, bint with_latency):
        """Enter into ``usage`` the available deployments it does not name yet, as stock does."""
        cdef Py_ssize_t place
        for place in pool.places:
            if group.ids[place] not in usage:
                counts = {minute: {"tpm": 0, "rpm": 0}}
                usage[group.ids[place]] = {"latency": [0], **counts} if with_latency else counts

    cdef object fastest(self, Group group, Pool pool, store, selector, group_name, messages, input, request):
        """Return one of the deployments whose mean latency is within the buffer of the lowest, at random."""
        cdef dict usage = mapping(kept(store.cache_dict, store.ttl_dict, f"{group_name}_map", store._clock()))
        cdef dict report = None
        cdef Limits limits = group.limits(self.reader, False)
        cdef PyObject *base
        cdef const unsigned char *member = pool.member
        cdef Latencies latencies
        cdef Py_ssize_t index, place, rank, fitting = 0, wanted
        cdef Places order
        cdef Numbers slow
        cdef list heard
        cdef double latency, bound, tokens = 0.0, lowest = INFINITY
        cdef bint streaming = request is not None and (<dict>request).get("stream") is True
        arguments = selector.routing_args
        buffer, percentile = number(arguments.lowest_latency_buffer), arguments.ttft_percentile
        if request is not None:
            field = "litellm_metadata" if "litellm_metadata" in <dict>request else "metadata"
            if field in <dict>request:
                report = sized_dict(pool.count)
                if type((<dict>request)[field]) is not dict:
                    raise Unserved(decline.METADATA_TYPE)
        if group.api_bases is None:
            group.api_bases = self.reader.api_bases(group.deployments)
        minute = None
        if limits.any:  # before the measurements are looked at: code of others may write to them
            tokens = number(self.reader.tokens("lowest_latency", messages, input))
            minute = self.reader.minute("lowest_latency")
        latencies = group.latencies if usage else group.unmeasured
        if latencies is None or pool.introduced is not latencies or (usage and latencies.changed(usage)):
            usage = usage or {}
            fresh = not usage
            self.introduce(group, pool, usage, minute or self.reader.minute("lowest_latency"), True)
            if latencies is None or fresh or latencies.changed(usage):
                latencies = Latencies(usage, group.places)
            pool.introduced = latencies
            if fresh:
                group.unmeasured = latencies
            else:
                group.latencies = latencies
        slow = Numbers(latencies.count)
        heard = [None] * latencies.count if streaming else latencies.means
        for index in range(latencies.count):
            place = latencies.places.values[index]
            slow.values[index] = INFINITY
            if place < 0 or not member[place]:
                continue
            if not latencies.known(index):
                latencies.read(index)
            latency = latencies.entries[index].mean
            if streaming:
                heard[index] = latencies.first_token(index, percentile)
                latency = heard[index]
            if limits.any and limits.has(place):
                if not limits.within(place, <dict>latencies.entries[index].entry, minute, tokens):
                    continue
            slow.values[index] = latency
            lowest = min(lowest, latency)
        if lowest == INFINITY:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        bound = lowest + <double>buffer * lowest
        order = Places(latencies.count)
        shuffle(self.random, latencies.count, order.values)
        for rank in range(latencies.count):
            index = order.values[rank]
            place = latencies.places.values[index]
            if report is not None and place >= 0 and member[place]:
                if rank + AHEAD < latencies.count:
                    latencies.fetch(order.values[rank + AHEAD], group.api_bases)
                base = PyList_GET_ITEM(<PyObject *>group.api_bases, place)
                if base is not <PyObject *>None:
                    PyDict_SetItem(report, base, PyList_GET_ITEM(<PyObject *>heard, index))
            if slow.values[index] <= bound:
                order.values[fitting] = <int32_t>index
                fitting += 1
        wanted = self.random.choice(range(fitting))
        if report is not None:
            (<dict>request)[field]["_latency_per_deployment"] = report
        index = nth(order.values, slow.values, fitting, wanted)
        return group.deployments[latencies.places.values[index]]

    cdef object least_used(self, Group group, Pool pool, store, messages, input, bint asynchronous):
        """Return one of the deployments with the fewest tokens this minute and room for one more call, at random.

        Stock's coroutine reads the counters of all it considered, its synchronous sibling those of the pool.
        """
        cdef dict entries = store.cache_dict, expiries = store.ttl_dict, keys
        cdef list gone = []
        cdef Limits limits = group.limits(self.reader, True)
        cdef double now = store._clock(), tokens, least = INFINITY
        cdef Py_ssize_t code, place, fitting = 0, wanted, count = len(group.ids)
        cdef Numbers spent = pool.filled(0.0), called = pool.filled(-INFINITY)
        minute = self.reader.minute_utc()
        if group.colons:
            raise Unserved(decline.ID_WITH_COLON)
        if len(entries) > 8 * count + 256:
            names = [
                f"{id}:{deployment['litellm_params']['model']}" for id, deployment in zip(group.ids, group.deployments)
            ]
            entries = selected(entries, [f"{name}:{kind}:{minute}" for kind in ("tpm", "rpm") for name in names])
        keys = group.keys_for(minute)
        for key, value in entries.items():
            found = keys.get(key)
            if found is None:
                found = usage_key(group, key, minute)
                keys[key] = found
            code = found
            if code < 0 or not (pool.considered if asynchronous else pool.member)[code >> 1]:
                continue
            if expired(expiries, key, now):
                gone.append(key)
            elif value is not None and pool.member[code >> 1]:
                (called if code & 1 else spent).values[code >> 1] = number(value)
        drop(store, gone)
        tokens = number(self.reader.tokens("lowest_tpm_rpm_v2", messages, input)) if limits.any else 0.0
        for place in range(count):
            if not limits.has_room(place, spent.values[place], tokens, called.values[place]):
                spent.values[place] = INFINITY
            if spent.values[place] < least:
                least = spent.values[place]
        if least == INFINITY:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        for place in range(count):
            fitting += spent.values[place] == least
        wanted = self.random.choice(range(fitting))
        for place in range(count):
            if spent.values[place] == least:
                if wanted == 0:
                    return group.deployments[place]
                wanted -= 1

    cdef object least_used_since(self, Group group, Pool pool, store, group_name, messages, input):
        """Return the first deployment, in the order of the group's map, with the fewest tokens this minute."""
        cdef dict entries = store.cache_dict, expiries = store.ttl_dict, usage, calls
        cdef Limits limits = group.limits(self.reader, True)
        cdef double now = store._clock(), tokens = 0.0, spent, least = INFINITY
        cdef Py_ssize_t position = 0, index = 0, place, chosen = -1
        cdef PyObject *id
        cdef PyObject *value
        cdef Named named = pool.named
        minute = self.reader.hour_minute()
        usage = mapping(kept(entries, expiries, f"{group_name}:tpm:{minute}", now))
        calls = mapping(kept(entries, expiries, f"{group_name}:rpm:{minute}", now))
        if limits.any:
            tokens = number(self.reader.tokens("lowest_tpm_rpm", messages, input))
        if usage is None:
            for place in pool.places:
                if not limits.has(place) or limits.has_room(place, 0.0, tokens, calls_of(calls, group.ids[place])):
                    return group.deployments[place]
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        if named is None or not named.all(usage):
            for place in pool.places:
                if group.ids[place] not in usage:
                    usage[group.ids[place]] = 0
            named = pool.named = Named(usage, group.places)
        while index < named.count and PyDict_Next(usage, &position, &id, &value):
            place = named.places.values[index]
            index += 1
            if place < 0 or not pool.member[place]:
                continue
            spent = number(<object>value)
            if limits.any and limits.has(place):
                if not limits.has_room(place, spent, tokens, calls_of(calls, <object>id)):
                    continue
            if spent < least:
                least = spent
                chosen = place
        if chosen < 0:
            raise Unserved(decline.NONE_WITHIN_LIMITS)
        return group.deployments[chosen]
