//! What happens to an order, as messages with a type of their own. Other services would share this file, or write one
//! like it in their language: the payload is JSON.

use outbox::TypedMessage;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The topics, in Kafka as in the outbox.
pub mod topic {
    /// All of them start so: the dispatcher routes by it.
    pub const PREFIX: &str = "shop.";
    pub const ORDERS: &str = "shop.orders";
    pub const NOTIFICATIONS: &str = "shop.notifications";
    pub const FULFILLMENT: &str = "shop.fulfillment";
    pub const REFUNDS: &str = "shop.refunds";
    pub const ALL: [&str; 4] = [ORDERS, NOTIFICATIONS, FULFILLMENT, REFUNDS];
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderPlaced {
    pub order: Uuid,
    pub customer: String,
    pub total_cents: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderConfirmed {
    pub order: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderCancelled {
    pub order: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CustomerNotification {
    pub order: Uuid,
    pub customer: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FulfillmentTriggered {
    pub order: Uuid,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundTriggered {
    pub order: Uuid,
    pub amount_cents: i64,
}

// Everything about an order has the order for its key, so each topic brings it in the order in which it happened.

impl TypedMessage for OrderPlaced {
    const TOPIC: &'static str = topic::ORDERS;
    const TYPE: &'static str = "order.placed";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

impl TypedMessage for OrderConfirmed {
    const TOPIC: &'static str = topic::ORDERS;
    const TYPE: &'static str = "order.confirmed";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

impl TypedMessage for OrderCancelled {
    const TOPIC: &'static str = topic::ORDERS;
    const TYPE: &'static str = "order.cancelled";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

impl TypedMessage for CustomerNotification {
    const TOPIC: &'static str = topic::NOTIFICATIONS;
    const TYPE: &'static str = "customer.notification";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

impl TypedMessage for FulfillmentTriggered {
    const TOPIC: &'static str = topic::FULFILLMENT;
    const TYPE: &'static str = "fulfillment.triggered";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}

impl TypedMessage for RefundTriggered {
    const TOPIC: &'static str = topic::REFUNDS;
    const TYPE: &'static str = "refund.triggered";
    fn key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
    /// Money goes back once per order, whoever asks how often.
    fn idempotency_key(&self) -> Option<String> {
        Some(self.order.to_string())
    }
}
