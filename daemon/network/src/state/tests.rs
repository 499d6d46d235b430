//! What answers and failures do to the state.

use super::*;
use crate::pool::tests::node;

use crate::fault::Fault;
use crate::pool::STRIKES;
use std::collections::HashSet;

/// The default policy's rest.
const REST: u64 = 60_000;

fn at(ms: u64) -> Now {
    Now {
        steady_ms: ms,
        local_ms: ms,
    }
}

fn state(nodes: u8) -> State {
    let mut state = State::default();
    let pool = Pool::new((1..=nodes).map(node).collect(), false);
    state.replace_pool(pool, at(0));
    state
}

fn begin(state: &mut State, class: Class, ms: u64, insist: bool) -> Result<Route, NoHops> {
    let route = state.begin_build(&mut random::system(), class, at(ms), insist, None)?;
    state.end_build(&route);
    Ok(route)
}

fn built(state: &mut State, route: &Route, replaces: Option<&str>) {
    let rng = &mut random::system();
    state.built(rng, route, replaces, Duration::from_millis(5), at(0));
}

fn build_for(state: &mut State, class: Class) -> Route {
    let route = begin(state, class, 0, false).unwrap();
    built(state, &route, None);
    route
}

fn build(state: &mut State) -> Route {
    build_for(state, Class::OWN)
}

fn class(state: &mut State, name: &str) -> Class {
    state.touch(IsolationKey::new("account", name), at(0))
}

fn stranger(state: &State, route: &Route) -> NodeKey {
    state.choose_beside(&mut random::system(), route, 1, at(0))[0].ed25519
}

/// Nothing came over the path, and these hops did not answer either.
fn finding(bad: &[(usize, Fault)]) -> Finding {
    let mut hops = [Ok(()); HOPS];
    bad.iter().for_each(|(hop, fault)| hops[*hop] = Err(*fault));
    Finding {
        passed: None,
        fault: Fault::Timeout,
        hops,
    }
}

fn passed() -> Finding {
    Finding {
        passed: Some(Duration::ZERO),
        ..finding(&[])
    }
}

fn last_drop(state: &State) -> (&'static str, Option<usize>) {
    let dropped = state.dropped_infos();
    (dropped[0].reason, dropped[0].hop)
}

#[test]
fn two_paths_are_wanted_and_disjoint() {
    let mut state = state(12);
    assert_eq!(state.status().state, ConnectionState::Connecting);
    assert_eq!(state.missing(Class::OWN), 2);
    let rng = &mut random::system();
    let first = state.begin_build(rng, Class::OWN, at(0), false, None);
    let second = state.begin_build(rng, Class::OWN, at(0), false, None);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(state.missing(Class::OWN), 0);
    assert!(first.hops.iter().all(|hop| !second.contains(&hop.ed25519)));
    state.end_build(&first);
    assert_eq!(state.missing(Class::OWN), 1);
    built(&mut state, &first, None);
    assert_eq!(state.status().state, ConnectionState::Connected);
    assert!(state.guards_changed);
    assert_eq!(state.status().relaxed, LadderStep::Strict);
}

#[test]
fn each_isolation_key_has_circuits_of_its_own_behind_the_same_guards() {
    let mut state = state(14);
    let account = class(&mut state, "a");
    let own = [build(&mut state), build(&mut state)];
    let others = [
        build_for(&mut state, account),
        build_for(&mut state, account),
    ];
    let guards = |routes: &[Route; 2]| -> HashSet<NodeKey> {
        routes.iter().map(|route| route.hops[0].ed25519).collect()
    };
    assert_eq!(guards(&own), guards(&others));
    let hops = own.iter().chain(&others).flat_map(|route| &route.hops[1..]);
    let hops: HashSet<NodeKey> = hops.map(|hop| hop.ed25519).collect();
    assert_eq!(hops.len(), 8);
    for _ in 0..50 {
        let rng = &mut random::system();
        let chosen = state.choose_any(rng, account, &Asked::default(), at(0));
        assert!(
            others
                .iter()
                .any(|route| route.id == chosen.as_ref().unwrap().0.id)
        );
    }
    // Unused, they go; the layer's own stay.
    state.expire_classes(at(10), Duration::from_millis(10));
    assert_eq!(state.status().path_count, 2);
    assert_eq!(last_drop(&state), ("UNUSED", None));
    assert_ne!(state.dropped_infos()[0].path.isolation, "");
    // A path that was being built for them is not taken into use any more.
    built(&mut state, &others[0], None);
    assert_eq!(state.status().path_count, 2);
}

#[test]
fn classes_being_built_at_once_share_new_guards() {
    let mut state = state(14);
    let account = class(&mut state, "a");
    let mut guards = HashSet::new();
    for class in [Class::OWN, Class::OWN, account, account] {
        let rng = &mut random::system();
        let route = state.begin_build(rng, class, at(0), true, None).unwrap();
        guards.insert(route.hops[0].ed25519);
    }
    assert_eq!(guards.len(), 2);
}

#[test]
fn rules_are_relaxed_in_order_and_diversity_last() {
    // Just enough for two paths of one class.
    let mut state = state(6);
    let account = class(&mut state, "a");
    build(&mut state);
    build(&mut state);
    let shared = build_for(&mut state, account);
    assert_eq!(shared.step, LadderStep::SharedHops);
    assert_eq!(state.status().relaxed, LadderStep::SharedHops);

    // All nodes in one subnet.
    let mut list: Vec<Node> = (1..=6).map(node).collect();
    list.iter_mut()
        .for_each(|node| node.ip = [10, 0, 0, 1].into());
    let pool = || Pool::new(list.clone(), false);
    let mut state = State::default();
    state.replace_pool(pool(), at(0));
    let begun = begin(&mut state, Class::OWN, 0, false);
    assert_eq!(begun.unwrap_err(), NoHops::Diversity);
    state.policy.allow_same_subnet = true;
    let begun = begin(&mut state, Class::OWN, 0, false).unwrap();
    assert_eq!(begun.step, LadderStep::SameSubnet);
    // Where diversity is off, nothing needs to be relaxed.
    state.policy.diversity = false;
    let begun = begin(&mut state, Class::OWN, 0, false).unwrap();
    assert_eq!(begun.step, LadderStep::Strict);
    state.replace_pool(Pool::new(list[..2].to_vec(), false), at(0));
    assert_eq!(
        begin(&mut state, Class::OWN, 0, false).unwrap_err(),
        NoHops::Nodes
    );
}

#[test]
fn an_unreachable_guard_ends_its_paths_at_once_and_rests() {
    let mut state = state(14);
    let account = class(&mut state, "a");
    let route = build(&mut state);
    let other = build_for(&mut state, account);
    assert_eq!(other.hops[0], route.hops[0]);
    let target = stranger(&state, &route);
    assert!(state.failed(&route, &target, Fault::GuardUnreachable, at(0)));
    assert_eq!(state.status().path_count, 0);
    assert_eq!(last_drop(&state), ("GUARD_UNREACHABLE", Some(0)));
    let next = begin(&mut state, Class::OWN, REST - 1, false).unwrap();
    assert_ne!(next.hops[0], route.hops[0]);
    let again = begin(&mut state, Class::OWN, REST, false).unwrap();
    assert_eq!(again.hops[0], route.hops[0]);
}

#[test]
fn without_any_path_known_guards_are_tried_again_first() {
    let mut state = state(12);
    let route = build(&mut state);
    let other = build(&mut state);
    state.failed(&route, &[99; 32], Fault::GuardUnreachable, at(0));
    // One path is left: this guard alone is in trouble.
    let begun = begin(&mut state, Class::OWN, 1, true).unwrap();
    assert_ne!(begun.hops[0], route.hops[0]);
    assert_eq!(begun.step, LadderStep::NewGuard);
    state.failed(&other, &[99; 32], Fault::GuardUnreachable, at(0));
    let begun = begin(&mut state, Class::OWN, 1, true).unwrap();
    assert_eq!(begun.hops[0], route.hops[0]);
    assert_eq!(begun.step, LadderStep::RetriedGuards);
    let begun = begin(&mut state, Class::OWN, 1, false).unwrap();
    assert_eq!(begun.step, LadderStep::NewGuard);
}

#[test]
fn guards_of_a_former_run_count_after_they_answered() {
    let mut state = state(12);
    let guards = [build(&mut state), build(&mut state)].map(|route| route.hops[0].ed25519);
    let bytes = serde_json::to_vec(&state.guards).unwrap();
    let mut state = self::state(12);
    state.guards = serde_json::from_slice(&bytes).unwrap();
    // Until then they are nodes like any other, and may be drawn like any other.
    let mut drawn = (0..100).map(|_| begin(&mut state, Class::OWN, 0, false).unwrap());
    assert!(drawn.any(|route| !guards.contains(&route.hops[0].ed25519)));
    state.guard_tested(&guards[1], Ok(()), at(0));
    state.guard_tested(&guards[0], Err(Fault::Timeout), at(0));
    let begun = begin(&mut state, Class::OWN, 0, false).unwrap();
    assert_eq!(begun.hops[0].ed25519, guards[1]);
    assert_eq!(state.guards.keys(), guards);
}

#[test]
fn a_destination_silent_over_two_paths_is_asked_last_and_struck() {
    let mut state = state(12);
    let (first, second) = (build(&mut state), build(&mut state));
    let target = state
        .pool
        .all()
        .map(|node| node.ed25519)
        .find(|key| !first.contains(key) && !second.contains(key))
        .unwrap();
    for _ in 0..2 {
        // The same path again says nothing new.
        state.failed(&first, &target, Fault::Timeout, at(0));
    }
    let members = state.pool.all().map(|node| node.ed25519).collect();
    for _ in 0..50 {
        let rng = &mut random::system();
        let asked = Asked::default();
        let first = Some(&target);
        let chosen = state.choose_member(rng, Class::OWN, &members, first, &asked, at(1));
        assert_ne!(chosen.unwrap().1.ed25519, target);
        let later = state.choose_member(rng, Class::OWN, &members, first, &asked, at(REST));
        assert_eq!(later.unwrap().1.ed25519, target);
    }
    state.pool.strike(&target);
    state.pool.strike(&target);
    assert!(state.pool.is_usable(&target));
    state.failed(&second, &target, Fault::Timeout, at(0));
    assert!(!state.pool.is_usable(&target));
    state.answered(&second, &target, Duration::ZERO, true, at(1));
    assert!(state.pool.is_usable(&target));
    assert!(!state.is_silent(&target, at(1)));
}

#[test]
fn being_offline_is_no_guards_fault() {
    let mut state = state(12);
    let route = build(&mut state);
    let guard = route.hops[0].ed25519;
    for round in 1..20 {
        let later = at(outcome::HEARD_MS * round);
        state.failed(&route, &[99; 32], Fault::GuardUnreachable, later);
    }
    assert!(state.pool.is_usable(&guard));
    assert_eq!(state.guards.keys(), [guard]);
}

#[test]
fn a_guard_that_is_silent_at_once_fails_once_until_something_else_answers() {
    let mut state = state(12);
    let (route, other) = (build(&mut state), build(&mut state));
    let guard = route.hops[0].ed25519;
    for ms in 1..10 {
        state.failed(&route, &[99; 32], Fault::GuardUnreachable, at(ms));
    }
    assert!(state.guards.keys().contains(&guard));
    for ms in [20, 30] {
        state.answered(&other, &[99; 32], Duration::ZERO, true, at(ms));
        state.failed(&route, &[99; 32], Fault::GuardUnreachable, at(ms + 1));
    }
    assert!(!state.guards.keys().contains(&guard));
}

#[test]
fn what_anyone_may_have_written_costs_nothing_but_a_test() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    let [guard, middle, edge] = route.hops.clone().map(|hop| hop.ed25519);
    for fault in [
        Fault::Timeout,
        Fault::ConnectionLost,
        Fault::NodeGone(middle),
        Fault::NodeGone(target),
        Fault::NodeGone([99; 32]),
        Fault::NodeNotReady(edge),
        Fault::NotFromDestination,
        Fault::Plain,
    ] {
        for _ in 0..5 {
            assert!(state.failed(&route, &target, fault, at(0)));
            assert!(state.paths.all()[0].suspect);
            assert!(state.tested(&route, &passed(), at(0)));
            assert!(!state.paths.all()[0].suspect);
        }
    }
    assert!(!state.failed(&route, &target, Fault::Busy, at(0)));
    assert_eq!(state.status().path_count, 1);
    assert_eq!(state.guards.keys(), [guard]);
    assert!(
        [guard, middle, edge]
            .iter()
            .all(|key| state.pool.is_usable(key))
    );
}

#[test]
fn the_first_silent_hop_is_to_blame() {
    let mut state = state(20);
    for hop in 1..HOPS {
        let route = build(&mut state);
        let bad: Vec<_> = (hop..HOPS).map(|hop| (hop, Fault::Timeout)).collect();
        assert!(!state.tested(&route, &finding(&bad), at(0)));
        assert_eq!(last_drop(&state), ("TIMEOUT", Some(hop)));
        assert_eq!(state.guards.keys()[0], route.hops[0].ed25519);
    }
    let route = build(&mut state);
    let guard = route.hops[0].ed25519;
    // A hop that does not answer for itself and passes on what others say is none to drop.
    assert!(state.tested(&route, &finding(&[(0, Fault::Plain)]), at(0)));
    state.tested(&route, &passed(), at(0));
    let all = [0, 1, 2].map(|hop| (hop, Fault::Plain));
    assert!(!state.tested(&route, &finding(&all), at(0)));
    assert_eq!(last_drop(&state), ("UNEXPECTED_ANSWER", Some(0)));
    assert_ne!(
        begin(&mut state, Class::OWN, 1, false).unwrap().hops[0].ed25519,
        guard
    );
    // A name given for the silent hop puts it out at once.
    let route = build(&mut state);
    let gone = route.hops[2].ed25519;
    state.not_built(&route, &finding(&[(2, Fault::NodeGone(gone))]), at(0));
    assert!(!state.pool.is_usable(&gone));
}

#[test]
fn a_guard_that_answers_and_passes_nothing_on_is_replaced() {
    let mut state = state(20);
    let guard = build(&mut state).hops[0].ed25519;
    for _ in 0..3 {
        let begun = begin(&mut state, Class::OWN, 0, false).unwrap();
        state.guard_tested(&guard, Ok(()), at(0));
        assert!(state.guards.keys().contains(&guard));
        let bad = [(1, Fault::Plain), (2, Fault::Plain)];
        let route = Route {
            hops: [node(guard[0]), begun.hops[1].clone(), begun.hops[2].clone()],
            ..begun
        };
        state.not_built(&route, &finding(&bad), at(0));
    }
    assert!(!state.guards.keys().contains(&guard));
    assert!(!state.pool.is_usable(&guard));
}

#[test]
fn an_edge_behind_which_nothing_answers_goes_at_the_second_test() {
    let mut state = state(12);
    let route = build(&mut state);
    let edge = route.hops[2].ed25519;
    assert!(state.tested(&route, &finding(&[]), at(0)));
    assert!(!state.tested(&route, &finding(&[]), at(0)));
    assert_eq!(last_drop(&state), ("TIMEOUT", Some(2)));
    // It answers whenever it is asked itself, and is found out all the same.
    for _ in 1..STRIKES {
        state.pool.forgive(&edge);
        state.not_built(&route, &finding(&[]), at(0));
    }
    assert!(!state.pool.is_usable(&edge));
}

#[test]
fn a_path_that_passes_tests_alone_is_dropped() {
    let mut state = state(14);
    let (bad, good) = (build(&mut state), build(&mut state));
    let target = state
        .pool
        .all()
        .map(|node| node.ed25519)
        .find(|key| !bad.contains(key) && !good.contains(key))
        .unwrap();
    let one = |state: &mut State| {
        state.failed(&bad, &target, Fault::Timeout, at(0));
        state.tested(&bad, &passed(), at(0));
        // It was not the destination.
        state.answered(&good, &target, Duration::ZERO, true, at(1));
    };
    one(&mut state);
    one(&mut state);
    state.answered(&bad, &target, Duration::ZERO, true, at(1));
    one(&mut state);
    one(&mut state);
    assert_eq!(state.status().path_count, 2);
    one(&mut state);
    assert_eq!(last_drop(&state), ("REPEATED_FAILURE", None));
    assert_eq!(state.guards.keys()[0], bad.hops[0].ed25519);
}

#[test]
fn a_dead_destination_costs_no_path_however_often_it_is_asked() {
    let mut state = state(12);
    let (first, second) = (build(&mut state), build(&mut state));
    let target = [99; 32];
    for _ in 0..20 {
        for route in [&first, &second] {
            state.failed(route, &target, Fault::Timeout, at(0));
            state.tested(route, &passed(), at(0));
        }
    }
    assert_eq!(state.status().path_count, 2);
    assert_eq!(state.guards.keys().len(), 2);
}

#[test]
fn rotation_keeps_the_guard_and_nothing_else() {
    let mut state = state(12);
    let route = build(&mut state);
    build(&mut state);
    assert!(state.due_for_rotation(at(449_999)).is_empty());
    assert_eq!(state.due_for_rotation(at(750_000)).len(), 2);
    let rng = &mut random::system();
    let next = state.begin_build(rng, Class::OWN, at(0), false, Some(&route));
    let next = next.unwrap();
    assert_eq!(next.hops[0], route.hops[0]);
    assert!(!route.contains(&next.hops[1].ed25519));
    assert!(!route.contains(&next.hops[2].ed25519));
    state.end_build(&next);
    built(&mut state, &next, Some(&route.id));
    assert_eq!(state.status().path_count, 2);
    assert!(state.path_infos().iter().all(|path| path.id != route.id));
    assert_eq!(last_drop(&state), ("ROTATED", None));
    state.postpone_rotation(&next.id, at(0), 7);
    assert_eq!(state.next_due_ms(), Some(7));
}

#[test]
fn a_path_that_nothing_came_over_for_long_is_due_for_a_test() {
    let mut state = state(12);
    let route = build(&mut state);
    assert!(state.due_for_test(at(119_999)).is_empty());
    assert_eq!(state.due_for_test(at(120_000)).len(), 1);
    assert_eq!(state.next_due_ms(), Some(120_000));
    state.answered(&route, &[99; 32], Duration::ZERO, true, at(5));
    assert!(state.due_for_test(at(120_000)).is_empty());
    state.failed(&route, &[99; 32], Fault::Timeout, at(6));
    assert_eq!(state.due_for_test(at(6)).len(), 1);
    // A test that found nothing is repeated soon, one that was passed is enough for a while.
    state.tested(&route, &finding(&[]), at(7));
    assert_eq!(state.next_due_ms(), Some(12_007));
    state.tested(&route, &passed(), at(8));
    assert!(state.due_for_test(at(120_007)).is_empty());
}

#[test]
fn when_every_node_failed_all_are_forgiven() {
    let mut state = state(4);
    for number in 1..=4 {
        state.pool.ban(&[number; 32]);
    }
    let begun = begin(&mut state, Class::OWN, 0, false).unwrap();
    assert_eq!(begun.step, LadderStep::ForgivenNodes);
}

#[test]
fn a_new_list_ends_paths_over_nodes_that_moved() {
    let mut state = state(12);
    let route = build(&mut state);
    let mut list: Vec<Node> = (1..=12).map(node).collect();
    state.replace_pool(Pool::new(list.clone(), false), at(1));
    assert_eq!(state.status().path_count, 1);
    for node in &mut list {
        if node.ed25519 == route.hops[2].ed25519 {
            node.port += 1;
        }
    }
    state.replace_pool(Pool::new(list, false), at(2));
    assert_eq!(state.status().path_count, 0);
    assert_eq!(last_drop(&state), ("NODE_LIST_CHANGED", Some(2)));
}

#[test]
fn the_list_of_dropped_paths_is_bounded() {
    let mut state = state(12);
    for _ in 0..30 {
        let route = build(&mut state);
        let bad = [(1, Fault::Timeout), (2, Fault::Timeout)];
        state.tested(&route, &finding(&bad), at(0));
        state.pool.forgive_all();
    }
    assert_eq!(state.dropped_infos().len(), 20);
}

#[test]
fn members_that_refused_are_not_asked_again() {
    let mut state = state(12);
    build(&mut state);
    build(&mut state);
    let members: HashSet<NodeKey> = [[1; 32], [2; 32], [3; 32]].into();
    let mut asked = Asked::default();
    asked.refused.insert([1; 32]);
    asked.tried.insert([2; 32]);
    for _ in 0..20 {
        let (route, node) = state
            .choose_member(
                &mut random::system(),
                Class::OWN,
                &members,
                Some(&[1; 32]),
                &asked,
                at(0),
            )
            .unwrap();
        assert_eq!(node.ed25519, [3; 32]);
        assert!(!route.contains(&[3; 32]));
    }
    asked.tried.clear();
    let first = Some(&[2; 32]);
    let chosen = state.choose_member(
        &mut random::system(),
        Class::OWN,
        &members,
        first,
        &asked,
        at(0),
    );
    assert_eq!(chosen.unwrap().1.ed25519, [2; 32]);
    asked.refused.extend([[2; 32], [3; 32]]);
    let chosen = state.choose_member(
        &mut random::system(),
        Class::OWN,
        &members,
        first,
        &asked,
        at(0),
    );
    assert!(chosen.is_none());
}

#[test]
fn a_member_behind_a_failed_path_alone_is_passed_over() {
    let mut state = state(12);
    let (bad, good) = (build(&mut state), build(&mut state));
    let outside = stranger(&state, &good);
    // Only the bad path leads to a hop of the good one.
    let members: HashSet<NodeKey> = [good.hops[1].ed25519, outside].into();
    let mut asked = Asked::default();
    asked.paths.push(bad.id.clone());
    for _ in 0..50 {
        let rng = &mut random::system();
        let first = Some(&good.hops[1].ed25519);
        let (route, node) = state
            .choose_member(rng, Class::OWN, &members, first, &asked, at(0))
            .unwrap();
        assert_eq!((route.id, node.ed25519), (good.id.clone(), outside));
    }
}

/// Where only the nodes of one path are without strikes, the others still serve to test it, or no path could come
/// into use any more.
#[test]
fn nodes_that_failed_often_test_a_path_when_no_others_are_left() {
    let mut state = state(12);
    let route = build(&mut state);
    let mut well = stranger(&state, &route);
    for number in 1..=12 {
        let key = node(number).ed25519;
        if !route.contains(&key) && key != well {
            (0..STRIKES).for_each(|_| state.pool.strike(&key));
        }
    }
    let beside = |state: &State| state.choose_beside(&mut random::system(), &route, 3, at(0));
    assert_eq!(beside(&state)[0].ed25519, well);
    (0..STRIKES).for_each(|_| state.pool.strike(&well));
    let others = beside(&state);
    assert_eq!(others.len(), 3);
    well = others[0].ed25519;
    assert!(!route.contains(&well) && !state.pool.is_usable(&well));
}

/// Counts what is drawn.
struct Counted(usize);

impl rand_core::TryRng for Counted {
    type Error = rand_core::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let wide = self.try_next_u64()?;
        Ok(u32::try_from(wide >> 32).unwrap())
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 += 1;
        random::system().try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        random::system().try_fill_bytes(bytes)
    }
}

#[test]
fn a_path_is_chosen_for_the_node_alone_that_is_asked() {
    let mut state = state(40);
    let first = build(&mut state);
    let second = build(&mut state);
    let chosen = |state: &State, asked: &Asked| {
        let mut rng = Counted(0);
        let (route, node) = state
            .choose_any(&mut rng, Class::OWN, asked, at(0))
            .unwrap();
        assert!(!route.contains(&node.ed25519));
        // The order of 40 nodes takes 39 draws.
        (route.id, rng.0 - 39)
    };
    for _ in 0..200 {
        assert_eq!(chosen(&state, &Asked::default()).1, 1);
    }
    // As good as it gets is enough.
    let failed = Asked {
        paths: vec![first.id.clone(), second.id.clone()],
        ..Asked::default()
    };
    assert_eq!(chosen(&state, &failed).1, 1);
    // A better path to another node still goes first.
    state.paths.get_mut(&first.id).unwrap().suspect = true;
    for _ in 0..200 {
        let (path, draws) = chosen(&state, &Asked::default());
        assert_eq!(path, second.id);
        assert!((1..=1 + HOPS).contains(&draws), "{draws}");
    }
}
