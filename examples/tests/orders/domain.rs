//! What each step of an order publishes, and what the other side makes of it.

use std::sync::{Arc, Mutex};

use outbox::{
    DecodeError, Delivery, Dispatcher, LeasedDispatcher, Message, MessageId, Outcome, PerMessage, Route,
    SendOne, TypedMessage, async_trait,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::database::{self, Database};
use crate::messages::{CustomerNotification, FulfillmentTriggered, OrderPlaced, RefundTriggered, topic};
use crate::orders::{OrderError, Orders};
use crate::work::Work;

/// The shop in a folder of its own.
struct Shop {
    orders: Orders,
    database: Arc<dyn Database>,
    _folder: TempDir,
}

impl Shop {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = database::open(None, folder.path()).await.expect("a database");
        Self { orders: Orders::new(Arc::clone(&database)), database, _folder: folder }
    }

    /// What a dispatcher sends now.
    async fn published(&self) -> Vec<Message> {
        let sent = Sent::default();
        let dispatcher = LeasedDispatcher::builder(self.database.store())
            .route(Route::prefix(topic::PREFIX, PerMessage::new(1, sent.clone())))
            .build()
            .expect("a dispatcher");
        dispatcher.drain().await.expect("it drains");
        std::mem::take(&mut *sent.0.lock().expect("no panic"))
    }
}

#[derive(Debug, Clone, Default)]
struct Sent(Arc<Mutex<Vec<Message>>>);

#[async_trait]
impl SendOne for Sent {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        self.0.lock().expect("no panic").push((*delivery.message).clone());
        Outcome::delivered()
    }
}

fn types(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| message.message_type.as_str()).collect()
}

/// All belong to `request` and to `order`; the first was caused by the request, the others by the first.
#[track_caller]
fn assert_chain(messages: &[Message], request: Uuid, order: Uuid) {
    let (request, first) = (request.to_string(), messages[0].id.to_string());
    for (index, message) in messages.iter().enumerate() {
        assert_eq!(message.headers.correlation_id(), Some(&*request), "{message:?}");
        let cause = if index == 0 { &request } else { &first };
        assert_eq!(message.headers.causation_id(), Some(&**cause), "{message:?}");
        assert_eq!(message.key, Some(order.to_string()), "{message:?}");
        assert_eq!(message.content_type, "application/json");
    }
}

#[tokio::test]
async fn a_placed_order_is_published_and_its_customer_told() {
    let shop = Shop::new().await;
    let request = Uuid::now_v7();
    let order = shop.orders.place(request, "Ada", 1_999).await.expect("it is placed");
    let messages = shop.published().await;
    assert_eq!(types(&messages), ["order.placed", "customer.notification"]);
    assert_chain(&messages, request, order);
    let placed: OrderPlaced = messages[0].decode().expect("it decodes");
    assert_eq!(placed, OrderPlaced { order, customer: "Ada".to_owned(), total_cents: 1_999 });
    assert_eq!(messages[0].payload, format!(r#"{{"order":"{order}","customer":"Ada","totalCents":1999}}"#));
    assert_eq!(messages[1].decode::<CustomerNotification>().expect("it decodes").customer, "Ada");
}

#[tokio::test]
async fn a_confirmed_order_is_shipped_once_however_often_it_is_confirmed() {
    let shop = Shop::new().await;
    let order = shop.orders.place(Uuid::now_v7(), "Ada", 1_999).await.expect("it is placed");
    shop.published().await;
    let request = Uuid::now_v7();
    shop.orders.confirm(request, order).await.expect("it is confirmed");
    shop.orders.confirm(Uuid::now_v7(), order).await.expect("it stays so");
    let messages = shop.published().await;
    assert_eq!(types(&messages), ["order.confirmed", "fulfillment.triggered", "customer.notification"]);
    assert_chain(&messages, request, order);
    assert_eq!(messages[1].decode::<FulfillmentTriggered>().expect("it decodes").order, order);
}

#[tokio::test]
async fn only_a_confirmed_order_is_paid_back_and_only_once() {
    let shop = Shop::new().await;
    let request = Uuid::now_v7();
    let unpaid = shop.orders.place(request, "Grace", 500).await.expect("it is placed");
    let paid = shop.orders.place(request, "Alan", 700).await.expect("it is placed");
    shop.orders.confirm(request, paid).await.expect("it is confirmed");
    shop.published().await;

    shop.orders.cancel(request, unpaid).await.expect("it is cancelled");
    let messages = shop.published().await;
    assert_eq!(types(&messages), ["order.cancelled", "customer.notification"]);
    assert_chain(&messages, request, unpaid);

    shop.orders.cancel(request, paid).await.expect("it is cancelled");
    shop.orders.cancel(request, paid).await.expect("it stays so");
    let messages = shop.published().await;
    assert_eq!(types(&messages), ["order.cancelled", "customer.notification", "refund.triggered"]);
    assert_chain(&messages, request, paid);
    let refund: RefundTriggered = messages[2].decode().expect("it decodes");
    assert_eq!(refund, RefundTriggered { order: paid, amount_cents: 700 });
    assert_eq!(messages[2].idempotency_key, Some(paid.to_string()));
}

#[tokio::test]
async fn a_step_that_is_refused_publishes_nothing() {
    let shop = Shop::new().await;
    let request = Uuid::now_v7();
    let nobody = shop.orders.confirm(request, Uuid::now_v7()).await;
    assert!(matches!(nobody, Err(OrderError::NotFound)), "{nobody:?}");
    let order = shop.orders.place(request, "Ada", 1).await.expect("it is placed");
    shop.orders.cancel(request, order).await.expect("it is cancelled");
    shop.published().await;
    let cancelled = shop.orders.confirm(request, order).await;
    assert!(matches!(cancelled, Err(OrderError::Cancelled)), "{cancelled:?}");
    let too_long = shop.orders.place(request, &"x".repeat(2_000_000), 1).await;
    assert!(matches!(too_long, Err(OrderError::Outbox(_))), "{too_long:?}");
    assert_eq!(types(&shop.published().await), [""; 0]);
    assert_eq!(
        shop.database.under_way().await.expect("it counts"),
        4,
        "what was placed and cancelled, no more"
    );
}

#[tokio::test]
async fn steps_at_the_same_time_are_taken_once() {
    let shop = Shop::new().await;
    let order = shop.orders.place(Uuid::now_v7(), "Ada", 1_999).await.expect("it is placed");
    shop.orders.confirm(Uuid::now_v7(), order).await.expect("it is confirmed");
    shop.published().await;
    let cancel = || shop.orders.cancel(Uuid::now_v7(), order);
    let (a, b, c, d) = tokio::join!(cancel(), cancel(), cancel(), cancel());
    assert!([a, b, c, d].iter().all(Result::is_ok));
    assert_eq!(
        types(&shop.published().await),
        ["order.cancelled", "customer.notification", "refund.triggered"]
    );
}

#[tokio::test]
async fn whatever_the_shop_publishes_the_departments_understand() {
    let shop = Shop::new().await;
    let order = shop.orders.place(Uuid::now_v7(), "Ada", 1_999).await.expect("it is placed");
    shop.orders.confirm(Uuid::now_v7(), order).await.expect("it is confirmed");
    shop.orders.cancel(Uuid::now_v7(), order).await.expect("it is cancelled");
    for message in shop.published().await {
        let work = Work::of(&message, "shop.orders/0@0".to_owned()).expect("it is understood");
        assert_eq!((work.message, work.order), (message.id, order));
        assert_eq!(Some(&*work.causation_id), message.headers.causation_id());
    }
}

#[test]
fn what_the_departments_do_not_know_they_refuse() {
    let placed = OrderPlaced { order: Uuid::now_v7(), customer: "Ada".to_owned(), total_cents: 1 };
    let built = placed.to_message().build().expect("it is valid");
    let mut message = Message::new(MessageId::generate(), built.topic(), built.payload().clone());
    message.message_type = built.message_type().to_owned();
    message.headers = built.headers().clone();
    Work::of(&message, String::new()).expect("known so far");

    message.headers.insert("message-version", "2");
    let newer = Work::of(&message, String::new());
    assert!(matches!(newer, Err(DecodeError::UnknownVersion { version: 2, known: 1, .. })), "{newer:?}");
    message.message_type = "order.vanished".to_owned();
    let unknown = Work::of(&message, String::new());
    assert!(matches!(unknown, Err(DecodeError::UnknownType { .. })), "{unknown:?}");
}
