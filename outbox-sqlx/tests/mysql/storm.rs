//! [`survive`] over MySQL or MariaDB.

use outbox_core::{Enqueue, NewMessage, StoreError, async_trait};
use outbox_sqlx::MySqlOutbox;
use sqlx::{MySql, Transaction};

use crate::fixture::{Database, pool};

#[path = "../storm/survive.rs"]
mod survive;

#[async_trait]
impl survive::Home for Database {
    type Outbox = MySqlOutbox;
    type Transaction = Transaction<'static, MySql>;

    fn outbox(&self) -> &MySqlOutbox {
        &self.outbox
    }

    async fn another(&self, history: bool) -> MySqlOutbox {
        MySqlOutbox::builder(pool(&self.name).await).history(history).build().unwrap()
    }

    async fn open(&self, message: &NewMessage) -> Result<Self::Transaction, StoreError> {
        let mut tx = self.outbox.begin().await?;
        self.outbox.enqueue(&mut tx, std::slice::from_ref(message)).await?;
        Ok(tx)
    }

    async fn commit(&self, open: Self::Transaction) -> Result<(), StoreError> {
        self.outbox.commit(open).await
    }

    async fn rollback(&self, open: Self::Transaction) {
        // Where its connection was cut, it is gone already.
        let _ = open.rollback().await;
    }

    async fn cut(&self) {
        Database::cut(self).await;
    }

    async fn disturb(&self, sql: &'static str) {
        let _ = sqlx::query(sql).execute(&self.pool).await;
    }

    async fn number(&self, sql: &'static str) -> i64 {
        Database::number(self, sql).await
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs TEST_MYSQL_URL; scripts/test starts a server"]
async fn random_outcomes_deaths_cuts_and_acts_lose_nothing_and_keep_the_order() {
    for seed in survive::seeds() {
        survive::one(&Database::new().await, seed).await;
    }
}
