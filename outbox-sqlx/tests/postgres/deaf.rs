//! A way to the server on which LISTEN is accepted and nothing is ever heard, as some poolers do it.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outbox_sqlx::PostgresOutbox;
use sqlx::postgres::PgSslMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::fixture::{Schema, message, pool, server};
use crate::waking::Sleepy;
use outbox_core::Enqueue;

/// Carries everything but notifications; the port that it listens on.
async fn swallowing() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = format!("{}:{}", server().get_host(), server().get_port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            client.set_nodelay(true).unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = TcpStream::connect(&target).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                // A message of the server: one byte that says what it is, and its length with these four bytes.
                // https://www.postgresql.org/docs/current/protocol-message-formats.html
                let mut head = [0; 5];
                while from_server.read_exact(&mut head).await.is_ok() {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                    let mut whole = head.to_vec();
                    whole.resize(1 + length, 0);
                    from_server.read_exact(&mut whole[5..]).await?;
                    if head[0] != b'A' {
                        to_client.write_all(&whole).await?;
                    }
                }
                std::io::Result::Ok(())
            });
        }
    });
    port
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, what: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(what).count()
    }
}

// On one thread, whose log is kept.
#[tokio::test]
#[ignore = "needs TEST_POSTGRES_URL; scripts/test starts a server"]
async fn a_listener_that_hears_nothing_says_so_once_and_polling_goes_on() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let _logging = tracing::subscriber::set_default(subscriber);
    let schema = Schema::new().await;
    let way = server()
        .host("127.0.0.1")
        .port(swallowing().await)
        .ssl_mode(PgSslMode::Disable)
        .options([("search_path", &schema.name)]);
    let outbox = PostgresOutbox::builder(pool(&schema.name).await).own_connections(way).build().unwrap();
    let mut dispatcher = Sleepy::polling(outbox, Duration::from_millis(100));
    let told = async {
        while log.count("cannot be heard") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), told).await.expect("it says that it is deaf");
    for text in ["1", "2"] {
        let mut tx = schema.outbox.begin().await.unwrap();
        schema.outbox.enqueue(&mut tx, &[message("k", text)]).await.unwrap();
        schema.outbox.commit(tx).await.unwrap();
        dispatcher.hears(text).await;
    }
    assert_eq!(log.count("cannot be heard"), 1);
    dispatcher.stop().await;
}
