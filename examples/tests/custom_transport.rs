//! The transport of `custom_transport.rs`, against its own receiver and against receivers that misbehave.

mod support;

use std::net::SocketAddr;

use support::{built, run};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// What the example prints when it delivers to `receiver`, or to its own.
async fn deliver(receiver: Option<SocketAddr>) -> String {
    let mut command = Command::new(built("custom_transport"));
    command.args(receiver.map(|address| address.to_string())).kill_on_drop(true);
    let (status, printed, errors) = run(command).await;
    assert!(status.success(), "{printed}\n{errors}");
    printed
}

/// A receiver that does `answer` with each connection.
async fn receiver<A: Future<Output = ()> + Send + 'static>(
    answer: impl Fn(TcpStream) -> A + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

#[tokio::test]
async fn its_own_receiver_takes_two_messages_and_refuses_one() {
    let printed = deliver(None).await;
    assert!(printed.contains("delivered: 2, dead letters: 1"), "{printed}");
    assert_eq!(printed.matches("received ").count(), 3, "{printed}");
}

#[tokio::test]
async fn a_receiver_that_never_answers_does_not_hold_it_up_for_ever() {
    let silent = receiver(|stream| async move {
        let _open = stream;
        std::future::pending().await
    });
    let printed = deliver(Some(silent.await)).await;
    assert!(printed.contains("delivered: 0, dead letters: 3"), "{printed}");
}

#[tokio::test]
async fn a_receiver_that_never_ends_its_answer_is_not_read_for_ever() {
    let endless =
        receiver(|mut stream| async move { while stream.write_all(&[b'x'; 4_096]).await.is_ok() {} });
    let printed = deliver(Some(endless.await)).await;
    assert!(printed.contains("delivered: 0, dead letters: 3"), "{printed}");
}

#[tokio::test]
async fn a_receiver_that_hangs_up_has_accepted_nothing() {
    let gone = receiver(|stream| async move { drop(stream) });
    let printed = deliver(Some(gone.await)).await;
    assert!(printed.contains("delivered: 0, dead letters: 3"), "{printed}");
}
