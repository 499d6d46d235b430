//! What answers and failures do to the state.

use super::*;
use crate::pool::tests::node;

const REST: Duration = Duration::from_secs(60);

fn state(nodes: u8) -> State {
    let mut state = State::default();
    state.replace_pool(Pool::new((1..=nodes).map(node).collect(), 0, false), 0);
    state
}

fn build(state: &mut State) -> Route {
    let route = state
        .begin_build(&mut random::system(), true, 0, false, None)
        .unwrap();
    state.end_build(&route);
    state.built(&route, None, Duration::from_millis(5), 0);
    route
}

fn stranger(state: &State, route: &Route) -> NodeKey {
    state
        .choose_beside(&mut random::system(), route)
        .unwrap()
        .ed25519
}

#[test]
fn two_paths_are_wanted_and_disjoint() {
    let mut state = state(12);
    assert_eq!(state.status().state, ConnectionState::Connecting);
    assert_eq!(state.missing(), 2);
    let first = state
        .begin_build(&mut random::system(), true, 0, false, None)
        .unwrap();
    let second = state
        .begin_build(&mut random::system(), true, 0, false, None)
        .unwrap();
    assert_eq!(state.missing(), 0);
    assert!(first.hops.iter().all(|hop| !second.contains(&hop.ed25519)));
    state.end_build(&first);
    assert_eq!(state.missing(), 1);
    state.built(&first, None, Duration::ZERO, 0);
    assert_eq!(state.status().state, ConnectionState::Connected);
    assert!(state.guards_changed);
}

#[test]
fn an_unreachable_guard_ends_its_path_at_once_and_rests() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    assert!(state.failed(&route, &target, Fault::GuardUnreachable, 0, REST));
    assert_eq!(state.status().path_count, 0);
    let next = state
        .begin_build(&mut random::system(), true, 59_999, false, None)
        .unwrap();
    assert_ne!(next.hops[0], route.hops[0]);
    state.end_build(&next);
    let again = state
        .begin_build(&mut random::system(), true, 60_000, false, None)
        .unwrap();
    assert_eq!(again.hops[0], route.hops[0]);
}

#[test]
fn without_any_path_known_guards_are_tried_again_first() {
    let mut state = state(12);
    let route = build(&mut state);
    let other = build(&mut state);
    let begin = |state: &mut State, insist| {
        let rng = &mut random::system();
        let begun = state.begin_build(rng, true, 1, insist, None).unwrap();
        state.end_build(&begun);
        begun.hops[0].clone()
    };
    state.failed(&route, &[99; 32], Fault::GuardUnreachable, 0, REST);
    // One path is left: this guard alone is in trouble.
    assert_ne!(begin(&mut state, true), route.hops[0]);
    state.failed(&other, &[99; 32], Fault::GuardUnreachable, 0, REST);
    assert_eq!(begin(&mut state, true), route.hops[0]);
    assert_ne!(begin(&mut state, false), route.hops[0]);
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
        state.failed(&first, &target, Fault::Timeout, 0, REST);
    }
    let members = state.pool.all().map(|node| node.ed25519).collect();
    for _ in 0..50 {
        let rng = &mut random::system();
        let asked = Asked::default();
        let chosen = state.choose_member(rng, &members, Some(&target), &asked, 1);
        assert_ne!(chosen.unwrap().1.ed25519, target);
        let later = state.choose_member(rng, &members, Some(&target), &asked, 60_000);
        assert_eq!(later.unwrap().1.ed25519, target);
    }
    state.pool.strike(&target);
    state.pool.strike(&target);
    assert!(state.pool.is_usable(&target));
    state.failed(&second, &target, Fault::Timeout, 0, REST);
    assert!(!state.pool.is_usable(&target));
    state.answered(&second, &target, Duration::ZERO, true, 1);
    assert!(state.pool.is_usable(&target));
    assert!(!state.is_silent(&target, 1));
}

#[test]
fn being_offline_is_no_guards_fault() {
    let mut state = state(12);
    let route = build(&mut state);
    let guard = route.hops[0].ed25519;
    for round in 1..20 {
        let later = HEARD_MS * round;
        state.failed(&route, &[99; 32], Fault::GuardUnreachable, later, REST);
    }
    assert!(state.pool.is_usable(&guard));
    assert_eq!(state.guards.keys(), [guard]);
}

#[test]
fn a_named_hop_goes_and_a_stranger_costs_a_strike() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    // Neither on the path nor the target: whoever says so lies about something.
    for _ in 0..2 {
        assert!(!state.failed(&route, &target, Fault::NodeGone([99; 32]), 0, REST));
    }
    let middle = route.hops[1].ed25519;
    assert!(state.failed(&route, &target, Fault::NodeGone(middle), 0, REST));
    assert!(!state.pool.is_usable(&middle));
    assert!(state.pool.is_usable(&route.hops[0].ed25519));
    assert_eq!(state.status().path_count, 0);
}

#[test]
fn plain_answers_about_the_target_spare_the_path() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    for _ in 0..3 {
        assert!(!state.failed(&route, &target, Fault::NodeGone(target), 0, REST));
    }
    assert!(!state.pool.is_usable(&target));
    assert_eq!(state.status().path_count, 1);
}

#[test]
fn the_third_plain_failure_drops_the_path_and_blames_the_hops_behind_the_guard() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    assert!(!state.failed(&route, &target, Fault::Plain, 0, REST));
    assert!(!state.failed(&route, &target, Fault::NotFromDestination, 0, REST));
    assert!(state.failed(&route, &target, Fault::Plain, 0, REST));
    assert_eq!(state.status().path_count, 0);
    assert_eq!(state.guards.keys(), [route.hops[0].ed25519]);
}

#[test]
fn a_timeout_puts_the_path_under_suspicion_until_it_answers() {
    let mut state = state(12);
    let route = build(&mut state);
    let target = stranger(&state, &route);
    assert!(state.failed(&route, &target, Fault::Timeout, 0, REST));
    assert!(state.paths.all()[0].suspect);
    state.answered(&route, &target, Duration::ZERO, true, 1);
    assert!(!state.paths.all()[0].suspect);
    state.failed(&route, &target, Fault::Timeout, 0, REST);
    state.probe_failed(&route, &target, Fault::Timeout, 0, REST);
    assert_eq!(state.status().path_count, 0);
    assert_eq!(state.status().state, ConnectionState::Connecting);
}

#[test]
fn rotation_keeps_the_guard_and_nothing_else() {
    let mut state = state(12);
    let route = build(&mut state);
    build(&mut state);
    let next = state
        .begin_build(&mut random::system(), true, 0, false, Some(&route))
        .unwrap();
    assert_eq!(next.hops[0], route.hops[0]);
    assert!(!route.contains(&next.hops[1].ed25519));
    assert!(!route.contains(&next.hops[2].ed25519));
    state.end_build(&next);
    state.built(&next, Some(&route.id), Duration::ZERO, 0);
    assert_eq!(state.status().path_count, 2);
    assert!(state.path_infos().iter().all(|path| path.id != route.id));
}

#[test]
fn when_every_node_failed_all_are_forgiven() {
    let mut state = state(4);
    for number in 1..=4 {
        state.pool.ban(&[number; 32]);
    }
    assert!(
        state
            .begin_build(&mut random::system(), true, 0, false, None)
            .is_some()
    );
}

#[test]
fn a_new_list_ends_paths_over_nodes_that_moved() {
    let mut state = state(12);
    let route = build(&mut state);
    let mut list: Vec<Node> = (1..=12).map(node).collect();
    state.replace_pool(Pool::new(list.clone(), 1, false), 1);
    assert_eq!(state.status().path_count, 1);
    for node in &mut list {
        if node.ed25519 == route.hops[2].ed25519 {
            node.port += 1;
        }
    }
    state.replace_pool(Pool::new(list, 2, false), 2);
    assert_eq!(state.status().path_count, 0);
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
            .choose_member(&mut random::system(), &members, Some(&[1; 32]), &asked, 0)
            .unwrap();
        assert_eq!(node.ed25519, [3; 32]);
        assert!(!route.contains(&[3; 32]));
    }
    asked.tried.clear();
    let first = Some(&[2; 32]);
    let chosen = state.choose_member(&mut random::system(), &members, first, &asked, 0);
    assert_eq!(chosen.unwrap().1.ed25519, [2; 32]);
    asked.refused.extend([[2; 32], [3; 32]]);
    let chosen = state.choose_member(&mut random::system(), &members, first, &asked, 0);
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
            .choose_member(rng, &members, first, &asked, 0)
            .unwrap();
        assert_eq!((route.id, node.ed25519), (good.id.clone(), outside));
    }
}
