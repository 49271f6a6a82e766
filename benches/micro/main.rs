//! What costs nothing but processor time: `cargo bench -p outbox-benches`.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use outbox::smtp::{CalendarInvite, EmailMessage, Mailbox};
use outbox::{
    ClaimRequest, Delivery, DeliveryReport, Dispatcher, DispatcherId, Enqueue, EnqueuedIn, Headers,
    LeasedDispatcher, MemoryOutbox, NewMessage, OutboxStore, Outcome, Route, SqliteOutbox, Transport,
    async_trait,
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::runtime::Runtime;

const MESSAGES: usize = 500;

fn message(number: usize) -> NewMessage {
    NewMessage::builder("bench")
        .key(format!("key-{}", number % 100))
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .header("tenant", "blue")
        .payload(vec![b'x'; 500], "application/octet-stream")
        .build()
        .expect("a valid message")
}

fn messages() -> Vec<NewMessage> {
    (0..MESSAGES).map(message).collect()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn building(c: &mut Criterion) {
    c.bench_function("build a message", |b| b.iter(|| message(black_box(7))));
    let headers = message(7).headers().clone();
    let json = headers.to_json().expect("it has headers");
    c.bench_function("encode headers", |b| b.iter(|| black_box(&headers).to_json()));
    c.bench_function("decode headers", |b| b.iter(|| Headers::from_json(black_box(&json))));
}

/// Rows of a database without a network; every transaction is rolled back, so nothing waits for the disk.
fn rows(c: &mut Criterion) {
    let runtime = runtime();
    let folder = tempfile::tempdir().expect("a folder");
    let file =
        SqliteConnectOptions::new().filename(folder.path().join("outbox.sqlite")).create_if_missing(true);
    let outbox = {
        let _inside = runtime.enter();
        SqliteOutbox::new(SqlitePool::connect_lazy_with(file))
    };
    runtime.block_on(outbox.migrate()).expect("the tables");
    let messages = messages();
    let mut group = c.benchmark_group("SQLite, 500 rows");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    group.bench_function("encode and insert", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut tx = outbox.begin().await.expect("begin");
                outbox.enqueue(&mut tx, &messages).await.expect("enqueue");
                tx.rollback().await.expect("rollback");
            });
        });
    });
    group.bench_function("read and decode", |b| {
        let mut tx = runtime.block_on(outbox.begin()).expect("begin");
        runtime.block_on(outbox.enqueue(&mut tx, &messages)).expect("enqueue");
        b.iter(|| runtime.block_on(outbox.enqueued_in(&mut tx)).expect("a read"));
        runtime.block_on(tx.rollback()).expect("rollback");
    });
    group.finish();
}

/// Claims, plans, judges and settles: the dispatcher with a store that costs next to nothing.
fn dispatcher(c: &mut Criterion) {
    let runtime = runtime();
    let mut group = c.benchmark_group("memory outbox, 500 messages");
    group.throughput(Throughput::Elements(MESSAGES as u64));
    let filled = || {
        let outbox = MemoryOutbox::new();
        let mut tx = outbox.begin();
        runtime.block_on(outbox.enqueue(&mut tx, &messages())).expect("enqueue");
        outbox.commit(tx);
        outbox
    };
    group.bench_function("claim", |b| {
        let outbox = filled();
        let me = DispatcherId::new("bench");
        let owned = runtime.block_on(outbox.renew(&me, None, Duration::from_secs(3_600))).expect("a lease");
        let held = Default::default();
        let request = ClaimRequest {
            epoch: owned.epoch,
            slots: &owned.slots,
            wants: &|_| true,
            held: &held,
            restart: true,
            limit: MESSAGES,
            max_bytes: usize::MAX,
        };
        b.iter(|| runtime.block_on(outbox.claim(&request)).expect("a claim"));
    });
    group.bench_function("drain", |b| {
        let drain = |outbox: MemoryOutbox| {
            let route = Route::topic("bench", Accepts);
            let dispatcher = LeasedDispatcher::builder(outbox).route(route).build().expect("a dispatcher");
            runtime.block_on(dispatcher.drain()).expect("drained")
        };
        b.iter_batched(filled, drain, BatchSize::LargeInput);
    });
    group.finish();
}

struct Accepts;

#[async_trait]
impl Transport for Accepts {
    async fn deliver(&self, batch: &[Delivery], report: &DeliveryReport) {
        report.record_rest(batch, &Outcome::delivered());
    }

    fn keeps_order(&self) -> bool {
        true
    }
}

fn invitation(c: &mut Criterion) {
    let starts = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
    let invite = || {
        CalendarInvite::request("appointment-7@example.org")
            .organizer(Mailbox::new("studio@example.org")?.named("The studio")?)
            .attendee(Mailbox::new("guest@example.com")?.named("A guest")?)
            .time(starts, starts + Duration::from_secs(1_800))
            .summary("First lesson")
            .build()
    };
    c.bench_function("render an invitation as iCalendar", |b| b.iter(|| invite().expect("an invitation")));
    c.bench_function("render an invitation as mail", |b| {
        b.iter(|| {
            let mail = EmailMessage::invitation(invite().expect("an invitation"))
                .text("Your first lesson is booked.");
            mail.build().and_then(|mail| mail.to_message("mail")).expect("a mail")
        });
    });
}

criterion_group!(benches, building, rows, dispatcher, invitation);
criterion_main!(benches);
