//! Dying at the worst moments on purpose, to see what becomes of it: `-- --die sending` and `-- --die receiving`.

use outbox::{Delivery, DeliveryReport, Transport, async_trait};

/// Where the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Die {
    /// The records are on the broker, and the outbox does not know it yet: they will be sent again.
    Sending,
    /// The work is written, and its transaction not committed: the record will be received again.
    Receiving,
}

/// As by `kill -9`: nothing is tidied up.
pub fn die(why: &str) -> ! {
    eprintln!("dying on purpose: {why}");
    std::process::abort()
}

/// Sends, and dies before anybody hears of it.
#[derive(Debug)]
pub struct DiesAfterSending<T>(pub T);

#[async_trait]
impl<T: Transport> Transport for DiesAfterSending<T> {
    async fn deliver(&self, batch: &[Delivery], _: &DeliveryReport) {
        let unheard = DeliveryReport::collecting(batch);
        self.0.deliver(batch, &unheard).await;
        die(&format!("{} records were sent, and none is settled", unheard.take().len()))
    }

    fn keeps_order(&self) -> bool {
        self.0.keeps_order()
    }

    fn deadline(&self) -> std::time::Duration {
        self.0.deadline()
    }
}
