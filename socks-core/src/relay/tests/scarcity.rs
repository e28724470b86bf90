//! Tunnels whose readers do not read, and the pipes that they must not keep from others.

#![cfg(target_os = "linux")]

use super::*;

fn few_pipes(pipes: usize) -> Setup {
    Setup::with(&RelayerOptions { pipes, ..RelayerOptions::default() })
}

#[tokio::test]
async fn stalled_readers_keep_at_most_half_of_the_pipes_and_lose_nothing() {
    let setup = few_pipes(2);
    let relayer = Arc::clone(&setup.relayer);
    let mut stalled = vec![setup.start().await];
    for _ in 0..3 {
        stalled.push(Setup::sharing(&relayer).start().await);
    }
    let mut sent = Vec::new();
    for tunnel in &mut stalled {
        sent.push(tunnel.fill(Way::Down).await);
    }
    assert!(relayer.pools.pipes.opened() > 0, "such amounts are spliced");
    assert!(relayer.pools.pipes.lent() <= 1, "{} pipes are kept", relayer.pools.pipes.lent());
    let mut other = Setup::sharing(&relayer).start().await;
    let (source, sink) = other.ends(Way::Up);
    transfer(source, sink, &noise(1, 8 * MEGABYTE)).await;
    for (tunnel, sent) in stalled.iter_mut().zip(sent) {
        tunnel.read_filled(Way::Down, sent).await;
    }
    for tunnel in stalled {
        assert!(matches!(tunnel.finish().await, RelayEnd::Closed));
    }
    assert_eq!(relayer.pools.pipes.lent(), 0);
}

#[tokio::test]
async fn a_stalled_reader_keeps_no_whole_buffer_for_a_few_octets() {
    let setup = few_pipes(0);
    let relayer = Arc::clone(&setup.relayer);
    let mut tunnel = setup.start().await;
    let sent = tunnel.fill(Way::Up).await;
    assert!(relayer.pools.buffers.lent() <= 1);
    tunnel.read_filled(Way::Up, sent).await;
    assert_eq!(relayer.pools.buffers.lent(), 0);
}

#[tokio::test]
async fn octets_of_a_dropped_tunnel_never_reach_another() {
    let setup = few_pipes(2);
    let relayer = Arc::clone(&setup.relayer);
    let mut tunnel = setup.start().await;
    tunnel.fill(Way::Down).await;
    let lent = relayer.pools.pipes.lent();
    let opened = relayer.pools.pipes.opened();
    tunnel.relay.abort();
    assert!(tunnel.relay.await.unwrap_err().is_cancelled());
    assert_eq!(relayer.pools.pipes.opened(), opened - lent, "pipes with octets in them are closed");
    assert_eq!(relayer.pools.pipes.lent(), 0);
    for seed in 0..3 {
        let mut other = Setup::sharing(&relayer).start().await;
        let (source, sink) = other.ends(Way::Down);
        transfer(source, sink, &noise(seed, 4 * MEGABYTE)).await;
    }
}
