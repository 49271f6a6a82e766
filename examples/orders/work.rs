//! [`Work`]: what a department does because of a message. Here it is a row; elsewhere a parcel, or a transfer.

use outbox::{DecodeError, Message, MessageId, TypedMessage};
use uuid::Uuid;

use crate::messages::{
    CustomerNotification, FulfillmentTriggered, OrderCancelled, OrderConfirmed, OrderPlaced, RefundTriggered,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub message: MessageId,
    pub order: Uuid,
    pub message_type: String,
    pub what: String,
    pub correlation_id: String,
    pub causation_id: String,
    /// Where the record lay, such as `shop.orders/2@17`.
    pub record: String,
}

impl Work {
    /// What `message`, which came as `record`, asks for. A type or a version that this program does not know is an
    /// error, never a guess.
    pub fn of(message: &Message, record: String) -> Result<Self, DecodeError> {
        let (order, what) = match message.message_type.as_str() {
            OrderPlaced::TYPE => {
                let OrderPlaced { order, customer, total_cents } = message.decode()?;
                (order, format!("books: {customer} owes {}", money(total_cents)))
            }
            OrderConfirmed::TYPE => {
                (message.decode::<OrderConfirmed>()?.order, "books: the order is firm".to_owned())
            }
            OrderCancelled::TYPE => {
                (message.decode::<OrderCancelled>()?.order, "books: the order is void".to_owned())
            }
            CustomerNotification::TYPE => {
                let CustomerNotification { order, customer, text } = message.decode()?;
                (order, format!("mail to {customer}: {text}"))
            }
            FulfillmentTriggered::TYPE => {
                (message.decode::<FulfillmentTriggered>()?.order, "warehouse: pack and ship".to_owned())
            }
            RefundTriggered::TYPE => {
                let RefundTriggered { order, amount_cents } = message.decode()?;
                (order, format!("bank: pay back {}", money(amount_cents)))
            }
            _ => return Err(DecodeError::unknown_type(message)),
        };
        let id = |id: Option<&str>| id.unwrap_or_default().to_owned();
        Ok(Self {
            message: message.id,
            order,
            message_type: message.message_type.clone(),
            what,
            correlation_id: id(message.headers.correlation_id()),
            causation_id: id(message.headers.causation_id()),
            record,
        })
    }
}

fn money(cents: i64) -> String {
    format!("{}.{:02} EUR", cents / 100, cents % 100)
}

/// A record that cannot be worked on, kept as it came: for a person, or for a program that knows more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub record: String,
    pub why: String,
    pub key: Option<Vec<u8>>,
    /// The headers as JSON, so that the version that was refused can be seen.
    pub headers: String,
    pub value: Vec<u8>,
}
