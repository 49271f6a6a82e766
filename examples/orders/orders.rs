//! [`Orders`]: each step of an order and all the messages it gives rise to, in one transaction.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use outbox::{MessageId, StoreError, TypedMessage};
use thiserror::Error;
use uuid::Uuid;

use crate::database::{Database, Transaction};
use crate::messages::{
    CustomerNotification, FulfillmentTriggered, OrderCancelled, OrderConfirmed, OrderPlaced, RefundTriggered,
};

/// An order, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub id: Uuid,
    pub customer: String,
    pub total_cents: i64,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Placed,
    Confirmed,
    Cancelled,
}

/// Why a step was not taken. Nothing was stored.
#[derive(Debug, Error)]
pub enum OrderError {
    #[error("there is no such order")]
    NotFound,
    #[error("the order was cancelled; place a new one")]
    Cancelled,
    #[error("the outbox cannot be used")]
    Outbox(#[from] StoreError),
    #[error("the database cannot be used")]
    Database(#[from] sqlx::Error),
    #[error("the database holds {0}, which cannot be read")]
    Unreadable(String),
}

/// The orders, and the outbox beside them in the same database.
///
/// Each step takes the id of the request that asked for it. It becomes the correlation id of all messages, also of
/// those that other services publish because of them; the causation id says which message or request came directly
/// before.
#[derive(Debug, Clone)]
pub struct Orders {
    database: Arc<dyn Database>,
}

impl Orders {
    pub fn new(database: Arc<dyn Database>) -> Self {
        Self { database }
    }

    /// Places an order; answers its id.
    pub async fn place(&self, request: Uuid, customer: &str, total_cents: i64) -> Result<Uuid, OrderError> {
        let order =
            Order { id: Uuid::now_v7(), customer: customer.to_owned(), total_cents, status: Status::Placed };
        let placed = MessageId::generate();
        let messages = [
            OrderPlaced { order: order.id, customer: order.customer.clone(), total_cents }
                .to_message()
                .id(placed)
                .causation_id(request),
            notification(&order, "Thank you for your order.").to_message().causation_id(placed),
        ];

        let mut tx = self.database.begin().await?;
        tx.insert(&order).await?;
        tx.publish(order.id, messages.map(|message| message.correlation_id(request)).into()).await?;
        // The order and its two messages now come into being together, or not at all.
        tx.commit().await?;
        Ok(order.id)
    }

    /// Confirms an order. One that is confirmed stays as it is, and nobody is told again.
    pub async fn confirm(&self, request: Uuid, order: Uuid) -> Result<(), OrderError> {
        let mut tx = self.database.begin().await?;
        let order = find(&mut *tx, order).await?;
        match order.status {
            Status::Placed => {}
            Status::Confirmed => return Ok(()),
            Status::Cancelled => return Err(OrderError::Cancelled),
        }
        let confirmed = MessageId::generate();
        let messages = [
            OrderConfirmed { order: order.id }.to_message().id(confirmed).causation_id(request),
            FulfillmentTriggered { order: order.id }.to_message().causation_id(confirmed),
            notification(&order, "Your order is on its way.").to_message().causation_id(confirmed),
        ];
        tx.set_status(order.id, Status::Confirmed).await?;
        tx.publish(order.id, messages.map(|message| message.correlation_id(request)).into()).await?;
        tx.commit().await
    }

    /// Cancels an order; what was confirmed is paid back. One that is cancelled stays so, and nobody is told again.
    pub async fn cancel(&self, request: Uuid, order: Uuid) -> Result<(), OrderError> {
        let mut tx = self.database.begin().await?;
        let order = find(&mut *tx, order).await?;
        if order.status == Status::Cancelled {
            return Ok(());
        }
        let cancelled = MessageId::generate();
        let mut messages = vec![
            OrderCancelled { order: order.id }.to_message().id(cancelled).causation_id(request),
            notification(&order, "Your order is cancelled.").to_message().causation_id(cancelled),
        ];
        if order.status == Status::Confirmed {
            let refund = RefundTriggered { order: order.id, amount_cents: order.total_cents };
            messages.push(refund.to_message().causation_id(cancelled));
        }
        tx.set_status(order.id, Status::Cancelled).await?;
        let messages = messages.into_iter().map(|message| message.correlation_id(request)).collect();
        tx.publish(order.id, messages).await?;
        tx.commit().await
    }
}

async fn find(tx: &mut dyn Transaction, order: Uuid) -> Result<Order, OrderError> {
    tx.find(order).await?.ok_or(OrderError::NotFound)
}

fn notification(order: &Order, text: &str) -> CustomerNotification {
    CustomerNotification { order: order.id, customer: order.customer.clone(), text: text.to_owned() }
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Placed => "placed",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = OrderError;
    fn from_str(text: &str) -> Result<Self, OrderError> {
        [Self::Placed, Self::Confirmed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| OrderError::Unreadable(format!("the status {text:?}")))
    }
}
