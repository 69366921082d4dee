/*
 * The lock protocol as a model for spin: three runners, one lock ref, one branch ref, an untrustworthy network.
 *
 * It keeps docs/protocol.md, section 0 honest: what is promised there must hold in every state that this file can reach.
 * README.md beside it maps each action to the product's transition table, lists what is left out, and tells how to
 * replay a counterexample. scripts/check-model checks every property and every mutant.
 *
 * Unbounded values are kept as relations, so that nothing here is cut off at a number of attempts or renewals:
 *   - A nonce never returns, so an expectation is one bit: "the ref is still what I read" (expects_lock,
 *     expects_branch). Any write of the ref clears that bit for everybody.
 *   - Copies of one request are byte-identical, so all that may still arrive are one bit too: while its expectations
 *     hold the network may deliver a request once, several times, or never. A resend is no new state.
 *   - A generation is compared with the one before it at each write, and with "a lease has had this one" (token_used).
 *
 * Flags: EXCLUSION, BELIEF, FENCE, ONCE, KEPT and GENERATION choose what is asserted; SERVICE adds the waiting order and
 * the calm in which the liveness property holds; BREACH lets the server break atomicity once; M_... switches one
 * safeguard off; WITNESS=<kind> asserts that no request of the kind is ever applied, which must fail.
 */

#define N 3
#ifndef RUNNERS
#define RUNNERS N /* fewer for a quick look */
#endif

/* What the lock ref says: 0..2 held by the present lease of that runner; GHOST + i by a lease whose runner forgot it
 * while a copy of its last request may still arrive; ORPHAN by a lease that nobody can renew or release any more. */
#define ORPHAN 3
#define GHOST 4
#define FREE 7
#define ABSENT 8
#define HELD (holder < FREE)

/* Kinds of request. Each is one row of the transition table, or two by what it found. */
#define NONE 0
mtype = {
	CREATE, ACQUIRE, TAKE_OVER, PREEMPT, RENEW, RELEASE,
	LAND_FAST, LAND, LAND_KEEP, LAND_EXPIRED, EMERGENCY
}
#define IS_LANDING(k) (k == LAND_FAST || k == LAND || k == LAND_KEEP || k == LAND_EXPIRED || k == EMERGENCY)
#define TAKES_A_LEASE(k) (k == ACQUIRE || k == TAKE_OVER || k == PREEMPT)

/* Where a runner is. FAILED: it has exited with another code than 0 and 9. GONE: with 9, or it was killed. One that has
 * exited, and whose requests are all dead, begins its next change at once: it is READING. */
#define READING 0
#define SENT 1
#define HOLDING 2
#define GONE 3
#define FAILED 4
#define TORN 5
#define HAS_EXITED(i) (pc[i] == GONE || pc[i] == FAILED)

/* Sets of runners, one bit each. */
#define has(set, i) ((set >> (i)) & 1)
#define put(set, i) set = set | (1 << (i))
#define drop(set, i) set = set & (7 - (1 << (i)))

/* The remote. */
byte holder = ABSENT;
bit lease_expired; /* an observer of the present tip may judge its lease expired */
byte landed;       /* the runner's present change is in the branch */
#ifdef GENERATION
bit token_used;    /* a lease has had the present generation: it was somebody's fencing token */
bit lock_existed;
#endif

/* One request of each runner whose outcome may be open, and the swap that kills it. */
byte kind[N];
byte expects_lock;   /* the lock ref is still what the request expects */
byte expects_branch; /* the same for the branch; landings only */
byte killing;        /* the kill is under way, with the same expectation of the lock */
byte reported_ok;    /* a complete report of success has arrived */
byte in_branch;      /* the commit of the present attempt is reachable from the branch tip */

/* Runners. */
byte pc[N] = READING;
byte believes; /* acts as the holder */
byte paused;   /* a holder that is stopped: its own clock cannot make it give up */
byte late;     /* the deadline of its lease, by its own clock, has passed */
byte ended;    /* its lease was ended by an operator, a preemption or an emergency landing */
byte kept;     /* its change is known to have landed, and it holds on (--keep) */

#ifdef M_BELIEVE_REFUSAL
byte doubted; /* a copy of the request went without a complete report */
#endif
#ifdef M_NO_PROOF
byte tip_is_mine; /* the lock's tip is the state that the runner's request wrote */
#endif
#ifdef M_RELEASE_BY_DELETE
byte expects_absent; /* absence, unlike a nonce, returns */
#endif
#ifdef BREACH
bit breached;
#endif

/* ---- properties: each flag turns the assertions of one on ---- */

#ifdef EXCLUSION
#define CHECK_EXCLUSION(x) assert(x)
#else
#define CHECK_EXCLUSION(x) skip
#endif
#ifdef BELIEF
#define CHECK_BELIEF(x) assert(x)
#else
#define CHECK_BELIEF(x) skip
#endif
#ifdef FENCE
#define CHECK_FENCE(x) assert(x)
#else
#define CHECK_FENCE(x) skip
#endif
#ifdef ONCE
#define CHECK_ONCE(x) assert(x)
#else
#define CHECK_ONCE(x) skip
#endif
#ifdef KEPT
#define CHECK_KEPT(x) assert(x)
#else
#define CHECK_KEPT(x) skip
#endif
#ifdef GENERATION
#define CHECK_GENERATION(x) assert(x)
#else
#define CHECK_GENERATION(x) skip
#endif

#ifdef WITNESS
#define CHECK_WITNESS(x) assert(x)
#else
#define WITNESS NONE
#define CHECK_WITNESS(x) skip
#endif

/* A lease counts unless it was ended early, or its process is stopped beyond its deadline and could not notice yet. */
#define COUNTS(i) (has(believes, i) && !has(ended, i) && !(has(paused, i) && has(late, i)))
#define IS_EXCLUSIVE (!(COUNTS(0) && COUNTS(1)) && !(COUNTS(0) && COUNTS(2)) && !(COUNTS(1) && COUNTS(2)))
#define IS_TRUE(i) (!COUNTS(i) || holder == i)

inline check_exclusion()
{
	CHECK_EXCLUSION(IS_EXCLUSIVE);
	CHECK_BELIEF(IS_TRUE(0) && IS_TRUE(1) && IS_TRUE(2))
}

/* ---- the waiting order, for the liveness property only: without it any runner may try at any time ---- */

#ifdef SERVICE
bit calm;      /* from now on no fault happens */
byte place[N]; /* in the queue: 0 none, 1 the head */
bit served;    /* runner 0 has just landed a change */
#define CALM calm
#define LEFT_A_TICKET(i) (place[i] > 0)
#define LAST_PLACE \
	((place[0] > 0) + (place[1] > 0) + (place[2] > 0))
#ifdef M_NO_QUEUE
#define MAY_CLAIM(i) true
#define MUST_QUEUE(i) false
#else
/* Newcomers never pass a ticket. Whoever waits may claim past a slow head, but nobody is slow in the calm. */
#define MAY_CLAIM(i) (LAST_PLACE == 0 || place[i] == 1 || (place[i] > 1 && !calm))
#define MUST_QUEUE(i) (LAST_PLACE > 0 && place[i] == 0)
#endif

inline step_up(i, j)
{
	place[j] = (place[j] > place[i] -> place[j] - 1 : place[j])
}

inline leave_queue(i)
{
	if
	:: place[i] > 0 -> step_up(i, 0); step_up(i, 1); step_up(i, 2); place[i] = 0
	:: else
	fi
}

/* One try without a ticket, then the queue. */
inline join_queue(i)
{
	if
#ifndef M_NO_QUEUE
	:: place[i] == 0 -> place[i] = LAST_PLACE + 1
#endif
	:: else
	fi
}
#else
#define CALM false
#define LEFT_A_TICKET(i) false
#define MAY_CLAIM(i) true
#define leave_queue(i) skip
#define join_queue(i) skip
#endif

/* ---- the server ---- */

/* The lease at the ref belongs to runner i: to its present lease, or to the one of a process that is gone. */
#define OWNS(i) (i < N && (holder == i || (holder == GHOST + i && pc[i] == GONE)))
#define LEASE_OF(i) (HAS_EXITED(i) -> GHOST + i : i)

/* One new state of the lock ref: it ends every other expectation of it. */
inline write(i, next, raises, is_new_lease)
{
	CHECK_GENERATION(holder != ABSENT || !lock_existed);      /* a new ref's Unix second may be below the old generation */
	CHECK_GENERATION(!HELD || OWNS(i) || raises);             /* a lease that another ends leaves its token behind */
	CHECK_GENERATION(!is_new_lease || raises || !token_used); /* no two leases share a token */
#ifdef GENERATION
	token_used = is_new_lease || (token_used && !raises);
	lock_existed = 1;
#endif
	holder = next;
	lease_expired = 0;
#ifdef M_RELEASE_BY_DELETE
	expects_lock = (next == ABSENT -> expects_absent : 0);
#else
	expects_lock = 0;
#endif
#ifdef M_NO_PROOF
	tip_is_mine = (1 << i);
#endif
}

#ifdef M_RELEASE_BY_DELETE
#define RELEASED ABSENT
#else
#define RELEASED FREE
#endif
#ifdef M_NO_GENERATION_ON_BREAK
#define BREAK_RAISES 0
#else
#define BREAK_RAISES 1
#endif

/* Only such a lease can still be believed one day; of others it does not matter how they end. */
#ifdef M_USE_LATE_RENEWAL
#define MATTERS_TO(h) (has(believes, h) || kind[h] == ACQUIRE || kind[h] == RENEW || kind[h] == LAND_KEEP)
#else
#define MATTERS_TO(h) (has(believes, h) || kind[h] == ACQUIRE)
#endif

inline end_lease_of_holder()
{
	if
	:: holder < N && MATTERS_TO(holder) -> put(ended, holder)
	:: else
	fi
}

/* The branch moves to the commit of runner i, whose parent is the tip that i read. */
inline move_branch(i)
{
	CHECK_FENCE(holder == FREE || OWNS(i) || (kind[i] == LAND_EXPIRED && lease_expired) || kind[i] == EMERGENCY);
	CHECK_ONCE(!has(landed, i) && pc[i] != FAILED);
	CHECK_KEPT(has(expects_branch, i)); /* a commit on a tip that is no longer there drops what came after that tip */
	put(landed, i);
	put(in_branch, i);
	expects_branch = 0
}

/* A grant is a grant: what a lease began with plays no part from here on. */
inline move_lock(i)
{
	if
	:: kind[i] == CREATE -> write(i, FREE, 1, 0)
	:: kind[i] == ACQUIRE -> write(i, LEASE_OF(i), 1, 1)
	:: kind[i] == TAKE_OVER -> write(i, LEASE_OF(i), 1, 1); kind[i] = ACQUIRE
	:: kind[i] == PREEMPT -> end_lease_of_holder(); write(i, LEASE_OF(i), BREAK_RAISES, 1); kind[i] = ACQUIRE
	:: kind[i] == RENEW -> write(i, LEASE_OF(i), 0, 0)
	:: kind[i] == RELEASE -> write(i, RELEASED, 0, 0)
	:: kind[i] == LAND_FAST -> write(i, FREE, 1, 0)
	:: kind[i] == LAND -> write(i, RELEASED, 0, 0)
	:: kind[i] == LAND_KEEP -> write(i, LEASE_OF(i), 0, 0)
	:: kind[i] == LAND_EXPIRED -> write(i, RELEASED, 1, 0)
	:: kind[i] == EMERGENCY -> end_lease_of_holder(); write(i, RELEASED, BREAK_RAISES, 0)
	fi
}

/* The swap that moves the lock from the same expectation, so that a late copy of the request can only be refused. */
inline move_lock_by_kill(i)
{
	if
	:: !HELD -> write(i, FREE, (holder == ABSENT), 0)
	:: HELD && OWNS(i) -> write(i, RELEASED, 0, 0)
	:: HELD && !OWNS(i) && (kind[i] == TAKE_OVER || kind[i] == LAND_EXPIRED) -> write(i, RELEASED, 1, 0)
	:: HELD && !OWNS(i) && (kind[i] == PREEMPT || kind[i] == EMERGENCY) ->
		end_lease_of_holder();
		write(i, RELEASED, BREAK_RAISES, 0)
	fi
}

#if defined(M_EQUAL_FENCE)
#define LOCK_EDIT_PASSES(i) (has(expects_lock, i) || IS_LANDING(kind[i]))
#elif defined(M_RELEASE_BY_DELETE)
/* a server that has collected the expected state deletes whatever is there */
#define LOCK_EDIT_PASSES(i) (has(expects_lock, i) || (kind[i] == RELEASE && HELD))
#else
#define LOCK_EDIT_PASSES(i) has(expects_lock, i)
#endif
#ifdef M_NO_BRANCH_SWAP
#define BRANCH_EDIT_PASSES(i) true
#else
#define BRANCH_EDIT_PASSES(i) (!IS_LANDING(kind[i]) || has(expects_branch, i))
#endif
#define CAN_BE_APPLIED(i) (kind[i] != NONE && LOCK_EDIT_PASSES(i) && BRANCH_EDIT_PASSES(i))
#define CAN_BE_KILLED(i) (has(killing, i) && has(expects_lock, i))
#define IS_DEAD(i) (!CAN_BE_APPLIED(i) && !CAN_BE_KILLED(i))

inline apply(i)
{
	CHECK_WITNESS(kind[i] != WITNESS); /* fails in order to show that this kind of request is ever applied */
	if
	:: IS_LANDING(kind[i]) -> move_branch(i)
	:: else
	fi;
#ifdef M_EQUAL_FENCE
	/* the lock's edit changes nothing: the client drops it from the push, and the server never sees it */
	if
	:: !IS_LANDING(kind[i]) -> move_lock(i)
	:: else
	fi
#else
	move_lock(i)
#endif
}

/* ---- keeping equal things equal: what no longer matters is set to its first value ---- */

inline forget_request(i)
{
	kind[i] = NONE;
	drop(expects_lock, i);
	drop(expects_branch, i);
	drop(killing, i);
	drop(reported_ok, i);
	drop(in_branch, i);
#ifdef M_BELIEVE_REFUSAL
	drop(doubted, i);
#endif
#ifdef M_RELEASE_BY_DELETE
	drop(expects_absent, i)
#endif
}

inline stop_believing(i)
{
	drop(believes, i);
	drop(paused, i);
	drop(late, i);
	drop(ended, i)
}

/* The next change of a runner that has exited begins once no copy of its last request can arrive any more. */
inline begin_next_change(i)
{
	if
	:: HAS_EXITED(i) && IS_DEAD(i) && !LEFT_A_TICKET(i) ->
		forget_request(i);
		drop(landed, i);
		pc[i] = READING;
		if
		:: holder == GHOST + i -> holder = ORPHAN
		:: else
		fi
	:: else
	fi
}

inline tidy()
{
	killing = killing & expects_lock;
#ifndef M_EQUAL_FENCE
	expects_branch = expects_branch & expects_lock;
#endif
	begin_next_change(0);
	begin_next_change(1);
	begin_next_change(2)
}

/* ---- the runner ---- */

#define RUNS(i) (!has(paused, i))

inline send(i, what)
{
	printf("runner %d: sends %e\n", i, what);
	kind[i] = what;
	pc[i] = SENT;
	put(expects_lock, i);
	if
	:: IS_LANDING(what) -> put(expects_branch, i)
	:: else -> drop(expects_branch, i)
	fi;
	drop(in_branch, i);
	drop(killing, i);
	drop(reported_ok, i);
#ifdef M_BELIEVE_REFUSAL
	drop(doubted, i);
#endif
#ifdef M_RELEASE_BY_DELETE
	drop(expects_absent, i);
	if
	:: holder == ABSENT -> put(expects_absent, i)
	:: else
	fi
#endif
}

/* A holder expects the state it wrote last: the tip, unless another has ended its lease. */
inline send_as_holder(i, what)
{
	send(i, what);
	if
	:: holder == i
	:: else -> drop(expects_lock, i); drop(expects_branch, i)
	fi
}

inline forget_lease(i)
{
	stop_believing(i);
	if
	:: holder == i -> holder = GHOST + i
	:: else
	fi
}

inline exit_landed(i)
{
	printf("runner %d: exit 0\n", i);
	CHECK_ONCE(has(landed, i));
	forget_lease(i);
	leave_queue(i);
	drop(kept, i);
#ifdef SERVICE
	served = served || i == 0;
#endif
	pc[i] = GONE; /* a second landing of the change is refused by its own assertion */
	begin_next_change(i)
}

inline exit_failed(i)
{
	printf("runner %d: exit, not landed\n", i);
	CHECK_ONCE(!has(landed, i));
	forget_lease(i);
	leave_queue(i);
	pc[i] = FAILED;
	begin_next_change(i)
}

/* The request is dead, not applied, and there is no lease: again from a fresh read, or give up. */
inline start_over(i)
{
	if
	:: has(kept, i) -> exit_landed(i)
	:: !has(kept, i) -> forget_lease(i); forget_request(i); join_queue(i); pc[i] = READING
	:: !has(kept, i) && !CALM -> exit_failed(i)
	fi
}

/* A lease was granted: used only if its own deadline, counted from the first sending, has not passed. */
inline begin_to_hold(i)
{
	if
#ifndef M_NO_OWN_DEADLINE
	:: has(late, i) -> stop_believing(i); send_as_holder(i, RELEASE)
#endif
	:: else ->
		printf("runner %d: holds\n", i);
		forget_request(i);
		put(believes, i);
		pc[i] = HOLDING
	fi;
	check_exclusion()
}

inline go_on_holding(i)
{
	if
	:: has(believes, i) -> forget_request(i); pc[i] = HOLDING
#ifdef M_USE_LATE_RENEWAL
	:: else -> printf("runner %d: holds again\n", i); forget_request(i); put(believes, i); pc[i] = HOLDING
#else
	:: else -> send_as_holder(i, RELEASE)
#endif
	fi;
	check_exclusion()
}

/* The swap is known to be applied. */
inline succeed(i)
{
	if
	:: kind[i] == CREATE -> forget_request(i); pc[i] = READING
	:: TAKES_A_LEASE(kind[i]) -> begin_to_hold(i)
	:: kind[i] == RENEW -> go_on_holding(i)
	:: kind[i] == RELEASE -> start_over(i)
	:: kind[i] == LAND_KEEP -> CHECK_ONCE(has(landed, i)); put(kept, i); go_on_holding(i)
	:: else -> exit_landed(i)
	fi
}

/* The landing is known not to be applied, now or ever. */
inline landing_is_dead(i)
{
	if
	:: (kind[i] == LAND || kind[i] == LAND_KEEP) && holder == i -> stop_believing(i); send_as_holder(i, LAND)
	:: else -> start_over(i)
	fi
}

/* The lock is not at the expectation any more: the swap is done or dead. */
inline judge(i)
{
	if
#ifdef M_NO_PROOF
	:: IS_LANDING(kind[i]) && has(tip_is_mine, i) -> succeed(i)
	:: IS_LANDING(kind[i]) && !has(tip_is_mine, i) -> landing_is_dead(i)
#else
	/* A landing is decided by the branch alone, read after the lock was seen moved. */
	:: IS_LANDING(kind[i]) && has(in_branch, i) -> succeed(i)
	:: IS_LANDING(kind[i]) && !has(in_branch, i) -> landing_is_dead(i)
#endif
	/* Everything else is decided by the tip: a lease is mine if the record names my token. */
	:: kind[i] == CREATE -> forget_request(i); pc[i] = READING
	:: holder == i && TAKES_A_LEASE(kind[i]) -> begin_to_hold(i)
	:: holder == i && kind[i] == RENEW -> go_on_holding(i)
	:: holder == i && kind[i] == RELEASE -> send_as_holder(i, RELEASE)
	:: holder != i && kind[i] != CREATE && !IS_LANDING(kind[i]) -> start_over(i)
	fi
}

proctype runner(byte i)
{
end:
	do
	/* One read, one decision, one swap. A slow sender is a slow network: the copy arrives later. */
	:: atomic {
		pc[i] == READING ->
#ifdef SERVICE
		if
		:: i == 0 -> served = 0
		:: else
		fi;
#endif
		if
#ifdef SERVICE
		:: MUST_QUEUE(i) || (place[i] == 0 && HELD) -> join_queue(i)
		:: place[i] > 0 && (!MAY_CLAIM(i) || (HELD && !lease_expired)) -> skip
#endif
#ifndef M_RELEASE_BY_DELETE
		:: holder == ABSENT -> send(i, CREATE)
#endif
		:: holder == ABSENT && MAY_CLAIM(i) -> send(i, ACQUIRE)
		:: holder == FREE && MAY_CLAIM(i) -> send(i, LAND_FAST)
		:: holder == FREE && MAY_CLAIM(i) -> send(i, ACQUIRE)
		:: HELD && lease_expired && MAY_CLAIM(i) -> send(i, TAKE_OVER)
#ifndef SERVICE
		:: HELD && lease_expired -> send(i, LAND_EXPIRED)
		:: HELD -> send(i, PREEMPT)
		:: HELD -> send(i, EMERGENCY)
#endif
		:: !CALM -> exit_failed(i)
		fi
	}

	/* A complete report of success. Silence, and any other answer, lead to a read. */
	:: atomic { pc[i] == SENT && RUNS(i) && has(reported_ok, i) -> drop(reported_ok, i); succeed(i); tidy() }

#ifdef SERVICE
	/* In the calm a request is answered at once. */
	:: atomic {
		CALM && pc[i] == SENT && RUNS(i) && !has(reported_ok, i) && CAN_BE_APPLIED(i) ->
		apply(i);
		succeed(i);
		tidy()
	}
#endif

	/* In doubt, and the lock still at the expectation: the same bytes again (no new state), or the kill. */
	:: atomic {
		pc[i] == SENT && RUNS(i) && !has(reported_ok, i) && !CALM &&
		has(expects_lock, i) && !has(killing, i) && kind[i] != CREATE && kind[i] != RELEASE ->
		printf("runner %d: sends a kill\n", i);
		put(killing, i);
		stop_believing(i)
	}
#if defined(M_BELIEVE_FIRST_REFUSAL)
	:: atomic { pc[i] == SENT && !has(reported_ok, i) && !CAN_BE_APPLIED(i) && IS_LANDING(kind[i]) -> landing_is_dead(i); tidy() }
#elif defined(M_BELIEVE_REFUSAL)
	:: atomic {
		pc[i] == SENT && !has(reported_ok, i) && !CAN_BE_APPLIED(i) && IS_LANDING(kind[i]) && has(doubted, i) ->
		landing_is_dead(i);
		tidy()
	}
#endif
#ifdef M_NO_KILL
	:: atomic {
		pc[i] == SENT && RUNS(i) && !has(reported_ok, i) && has(expects_lock, i) && IS_LANDING(kind[i]) && !has(kept, i) ->
		exit_failed(i)
	}
#endif

	/* In doubt, and the lock has moved; or the branch has moved, before any kill was sent. */
#ifndef M_TORN_READ
	:: atomic {
		pc[i] == SENT && RUNS(i) && !has(reported_ok, i) &&
		(!has(expects_lock, i) || (IS_LANDING(kind[i]) && !has(expects_branch, i) && !has(killing, i))) ->
		judge(i);
		tidy()
	}
#else
	/* One listing for both, and the branch was looked up first: still without our commit. */
	:: atomic { pc[i] == SENT && RUNS(i) && IS_LANDING(kind[i]) && !has(in_branch, i) -> pc[i] = TORN }
	:: atomic { pc[i] == TORN && RUNS(i) && !has(expects_lock, i) -> landing_is_dead(i); tidy() }
	:: atomic { pc[i] == TORN && RUNS(i) && has(expects_lock, i) -> pc[i] = SENT }
	:: atomic { pc[i] == SENT && RUNS(i) && !IS_LANDING(kind[i]) && !has(expects_lock, i) -> judge(i); tidy() }
#endif

	/* Holding. Belief ends before the last swap of a lease is sent. */
	:: atomic {
		pc[i] == HOLDING && RUNS(i) ->
		if
		:: has(believes, i) && !CALM -> send_as_holder(i, RENEW)
#ifndef SERVICE
		:: has(believes, i) && !has(kept, i) && !CALM -> send_as_holder(i, LAND_KEEP)
#endif
		:: !has(kept, i) -> stop_believing(i); send_as_holder(i, LAND)
		:: has(kept, i) || !CALM -> stop_believing(i); send_as_holder(i, RELEASE)
		fi
	}
	od
}

/* ---- the network: any copy, at any time, any number of times; reports get lost; a refusal needs no reason ---- */

inline deliver(i)
{
	atomic {
		CAN_BE_APPLIED(i) ->
		printf("server: %e of runner %d applied\n", kind[i], i);
		apply(i);
		if
		:: pc[i] == SENT -> put(reported_ok, i)
#ifdef M_BELIEVE_REFUSAL
		:: put(doubted, i)
#else
		:: true
#endif
		fi;
		tidy();
		check_exclusion()
	}
}

inline deliver_kill(i)
{
	atomic {
		CAN_BE_KILLED(i) ->
		printf("server: kill by runner %d applied\n", i);
		move_lock_by_kill(i);
		tidy();
		check_exclusion()
	}
}

#ifdef BREACH
/* A strict subset of the edits, while both expectations hold. */
inline deliver_in_part(i)
{
	atomic {
		CAN_BE_APPLIED(i) && IS_LANDING(kind[i]) && !breached ->
		printf("server: %e of runner %d applied in part\n", kind[i], i);
		breached = 1;
		if
		:: move_branch(i)
		:: move_lock(i)
		fi;
		tidy()
	}
}
#endif

proctype network()
{
end:
	do
	:: deliver(0)
	:: deliver(1)
	:: deliver(2)
	:: deliver_kill(0)
	:: deliver_kill(1)
	:: deliver_kill(2)
#ifdef BREACH
	:: deliver_in_part(0)
	:: deliver_in_part(1)
	:: deliver_in_part(2)
#endif
	od
}

/* ---- fate: time, crashes, operators ---- */

/* kill -9, or exit 9 because neither the request nor its kill could be shown. */
inline be_gone(i)
{
	atomic {
		(pc[i] == SENT || pc[i] == HOLDING) && !CALM ->
		printf("runner %d: killed, or exit 9\n", i);
		forget_lease(i);
		drop(kept, i);
		drop(reported_ok, i);
		pc[i] = GONE;
		tidy()
	}
}

/* The holder's own deadline passes while a swap is under way: lost, for good. (Otherwise it just releases.) */
inline pass_deadline(i)
{
	atomic {
		has(believes, i) && RUNS(i) && pc[i] != HOLDING && !CALM ->
		printf("runner %d: its deadline passes\n", i);
#ifdef M_USE_LATE_RENEWAL
		drop(believes, i) /* and how the lease ends still matters */
#else
		stop_believing(i)
#endif
	}
}

#ifndef SERVICE
/* A stopped process. Only a holder's needs a state of its own: others simply take no step. */
inline stop(i)
{
	atomic { has(believes, i) && RUNS(i) -> printf("runner %d: stopped\n", i); put(paused, i) }
}

inline wake(i)
{
	atomic {
		has(paused, i) ->
		printf("runner %d: goes on\n", i);
		drop(paused, i);
#ifndef M_NO_OWN_DEADLINE
		if
		:: !has(late, i)
		:: stop_believing(i)
		fi;
#endif
		check_exclusion()
	}
}
#else
/* Whoever claims past a dead ticket removes it. */
inline remove_dead_ticket(i)
{
	atomic { HAS_EXITED(i) && LEFT_A_TICKET(i) -> leave_queue(i); tidy() }
}
#endif

#if defined(M_EARLY_TAKE_OVER)
#define HOLDER_HAS_GIVEN_UP true
#elif defined(M_NO_EXPIRY)
#define HOLDER_HAS_GIVEN_UP false
#else
#define HOLDER_HAS_GIVEN_UP (holder >= N || !has(believes, holder) || has(paused, holder))
#endif

proctype fate()
{
end:
	do
	:: be_gone(0)
	:: be_gone(1)
	:: be_gone(2)
	:: pass_deadline(0)
	:: pass_deadline(1)
	:: pass_deadline(2)
#ifndef SERVICE
	:: stop(0)
	:: stop(1)
	:: stop(2)
	:: wake(0)
	:: wake(1)
	:: wake(2)
#else
	:: atomic { !calm -> printf("calm\n"); calm = 1 }
#ifndef M_DEAD_TICKETS_STAY
	:: remove_dead_ticket(0)
	:: remove_dead_ticket(1)
	:: remove_dead_ticket(2)
#endif
#endif
	/* By both rules of expiry an observer needs longer than a holder that is not stopped needs to give up. */
	:: atomic {
		HELD && !lease_expired && HOLDER_HAS_GIVEN_UP && (!CALM || holder >= N) ->
		printf("the lease expires\n");
		lease_expired = 1;
		if
		:: holder < N && MATTERS_TO(holder) -> put(late, holder)
		:: else
		fi
	}
	/* cleanup reaps an expired lease. */
	:: atomic {
		HELD && lease_expired && !CALM ->
		printf("cleanup: reap\n");
		write(N, RELEASED, 1, 0);
		tidy();
		check_exclusion()
	}
	:: atomic {
		HELD && !CALM ->
		printf("operator: break\n");
		end_lease_of_holder();
		write(N, RELEASED, BREAK_RAISES, 0);
		tidy();
		check_exclusion()
	}
	/* Somebody pushes to the branch without the lock. */
	:: atomic { expects_branch != 0 && !CALM -> printf("somebody: a plain push\n"); expects_branch = 0; tidy() }
	od
}

init
{
	byte i;
	atomic {
		for (i : 0 .. RUNNERS - 1) {
			run runner(i)
		}
		run network();
		run fate();
		i = 0
	}
}

#ifdef SERVICE
ltl service { [] (calm -> <> served) }
#endif
