use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;

fn shares(total: usize, each: usize, queue: usize) -> Shares {
    let limits = Limits {
        total,
        each,
        queue,
        wait: Duration::from_mins(1),
    };
    Shares::new("test", limits, Arc::new(Metrics::new()))
}

fn reseller(number: i64) -> Holder {
    Holder::Reseller(ResellerId(number))
}

/// Polls a request once. `None` means that it waits.
fn poll<F: Future<Output = Result<Permit, Refused>>>(
    request: Pin<&mut F>,
) -> Option<Result<Permit, Refused>> {
    match request.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn a_holder_gets_no_more_than_its_share_and_leaves_the_rest_to_others() {
    let shares = shares(4, 2, 8);
    let _first = shares.try_take(reseller(1), 2).unwrap();
    assert_eq!(
        shares.try_take(reseller(1), 1).err(),
        Some(Refused::OwnShare)
    );
    let _second = shares.try_take(reseller(2), 2).unwrap();
    assert_eq!(
        shares.try_take(reseller(3), 1).err(),
        Some(Refused::AllShares)
    );
    assert_eq!((shares.used(), shares.used_by(reseller(1))), (4, 2));
}

#[tokio::test]
async fn those_who_wait_are_served_in_turn_and_not_by_the_length_of_their_queue() {
    let shares = shares(1, 1, 8);
    let held = shares.try_take(reseller(9), 1).unwrap();
    let mut many: Vec<_> = (0..5)
        .map(|_| Box::pin(shares.take(reseller(1), 1)))
        .collect();
    for request in &mut many {
        assert!(poll(request.as_mut()).is_none());
    }
    let mut one = pin!(shares.take(reseller(2), 1));
    assert!(poll(one.as_mut()).is_none());
    drop(held);
    let first = poll(many[0].as_mut()).unwrap().unwrap();
    assert!(poll(one.as_mut()).is_none());
    drop(first);
    let second = poll(one.as_mut())
        .expect("the other holder is next")
        .unwrap();
    assert!(poll(many[1].as_mut()).is_none());
    drop(second);
    assert!(poll(many[1].as_mut()).unwrap().is_ok());
}

#[tokio::test]
async fn who_waits_for_its_own_share_delays_nobody() {
    let shares = shares(4, 1, 8);
    let held = shares.try_take(reseller(1), 1).unwrap();
    let mut waiting = pin!(shares.take(reseller(1), 1));
    assert!(poll(waiting.as_mut()).is_none());
    let other = shares
        .try_take(reseller(2), 1)
        .expect("three permits are free");
    drop(other);
    assert!(poll(waiting.as_mut()).is_none());
    drop(held);
    assert!(poll(waiting.as_mut()).unwrap().is_ok());
}

#[tokio::test]
async fn a_large_request_is_not_overtaken_by_small_ones_for_ever() {
    let shares = shares(4, 4, 8);
    let held = shares.try_take(reseller(1), 2).unwrap();
    let mut large = pin!(shares.take(reseller(2), 4));
    assert!(poll(large.as_mut()).is_none());
    assert_eq!(
        shares.try_take(reseller(3), 1).err(),
        Some(Refused::AllShares)
    );
    drop(held);
    assert!(poll(large.as_mut()).unwrap().is_ok());
    assert!(
        shares.try_take(reseller(3), 9).is_err(),
        "only `take` reduces an amount above the share"
    );
    assert!(shares.take(reseller(3), 9).await.is_ok());
}

#[tokio::test]
async fn the_queue_of_a_holder_is_bounded() {
    let shares = shares(1, 1, 1);
    let _held = shares.try_take(reseller(1), 1).unwrap();
    let mut waiting = pin!(shares.take(reseller(1), 1));
    assert!(poll(waiting.as_mut()).is_none());
    assert_eq!(
        shares.take(reseller(1), 1).await.err(),
        Some(Refused::QueueFull)
    );
    let mut other = pin!(shares.take(reseller(2), 1));
    assert!(poll(other.as_mut()).is_none(), "each has its own queue");
}

#[tokio::test]
async fn waiting_ends() {
    let limits = Limits {
        wait: Duration::ZERO,
        ..shares(1, 1, 8).limits()
    };
    let shares = Shares::new("test", limits, Arc::new(Metrics::new()));
    let held = shares.try_take(reseller(1), 1).unwrap();
    assert_eq!(
        shares.take(reseller(2), 1).await.err(),
        Some(Refused::AllShares)
    );
    drop(held);
    let limits = Limits { total: 2, ..limits };
    let shares = Shares::new("test", limits, Arc::new(Metrics::new()));
    let held = shares.try_take(reseller(1), 1).unwrap();
    assert_eq!(
        shares.take(reseller(1), 1).await.err(),
        Some(Refused::OwnShare)
    );
    drop(held);
    assert!(shares.try_take(reseller(3), 1).is_ok(), "nobody waits now");
    assert!(shares.lock().holders.is_empty(), "and nobody is remembered");
}

#[tokio::test]
async fn a_request_that_is_dropped_while_it_waits_loses_no_permit() {
    let shares = shares(2, 2, 8);
    let first = shares.try_take(reseller(1), 1).unwrap();
    let mut large = Box::pin(shares.take(reseller(2), 2));
    assert!(poll(large.as_mut()).is_none());
    let mut small = pin!(shares.take(reseller(3), 1));
    assert!(
        poll(small.as_mut()).is_none(),
        "it waits behind the large one"
    );
    drop(large);
    assert!(poll(small.as_mut()).unwrap().is_ok());
    let mut granted = Box::pin(shares.take(reseller(4), 2));
    assert!(poll(granted.as_mut()).is_none());
    drop(first);
    // The permits were handed over, but the request is dropped before it takes them.
    drop(granted);
    assert_eq!((shares.used(), shares.lock().holders.len()), (0, 0));
}

#[test]
fn who_waits_is_a_metric() {
    let metrics = Arc::new(Metrics::new());
    let limits = Limits {
        total: 1,
        each: 1,
        queue: 8,
        wait: Duration::from_mins(1),
    };
    let limits = Limits { total: 2, ..limits };
    let shares = Shares::new("test", limits, Arc::clone(&metrics));
    let _held = shares.try_take(reseller(1), 1).unwrap();
    let _refused = shares.try_take(reseller(1), 1);
    let (_, _receiver) = shares.lock().enqueue(reseller(7), 1);
    metrics.begin_shares();
    shares.record();
    let text = metrics.encode();
    for line in [
        r#"steward_share_used{share="test"} 1"#,
        r#"steward_share_waiting{share="test",holder="reseller 7"} 1"#,
        r#"steward_share_refused_total{share="test",cause="own_share"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn addresses_of_one_network_are_one_holder() {
    let holder = |text: &str| Holder::address(text.parse().unwrap());
    assert_eq!(holder("2001:db8::1"), holder("2001:db8::ffff:2"));
    assert_ne!(holder("2001:db8::1"), holder("2001:db8:0:1::1"));
    assert_eq!(holder("::ffff:10.0.0.1"), holder("10.0.0.1"));
    assert_eq!(holder("10.0.0.1").to_string(), "address 10.0.0.1");
}
