//! The flaws in what a person sees and does.

use std::time::Duration;

use outbox_core::{
    Act, MessageDetail, MessageId, MessageState, OutboxAdmin, Page, PageRequest, Selection, StoreError,
    Tally, TopicCounts, async_trait,
};

use super::flaw::Flaw;
use super::flawed::Flawed;

#[async_trait]
impl OutboxAdmin for Flawed {
    async fn counts(&self) -> Result<Vec<TopicCounts>, StoreError> {
        self.store.counts().await
    }

    async fn list(&self, request: &PageRequest) -> Result<Page, StoreError> {
        let mut page = self.store.list(request).await?;
        if self.is(Flaw::PagesOverlap) {
            page.next = page.next.map(|next| next - 1);
        }
        Ok(page)
    }

    async fn show(&self, id: MessageId) -> Result<Option<MessageDetail>, StoreError> {
        let mut detail = self.store.show(id).await?;
        if let Some(detail) = &mut detail {
            match self.flaw {
                Flaw::ActsAreNotRecorded => detail.acts.clear(),
                Flaw::ForgetsTheTally => detail.summary.tally = Tally::default(),
                Flaw::HidesReceipts => detail.receipt = None,
                Flaw::RepeatsFailures => detail.failures.extend(detail.failures.last().cloned()),
                Flaw::ShowsOnlyFresh => detail.summary.state = MessageState::Waiting,
                _ => {}
            }
        }
        Ok(detail)
    }

    async fn redrive(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        self.store.redrive(&self.widen(what), &self.amend(act)).await
    }

    async fn discard(&self, what: &Selection, act: &Act) -> Result<u64, StoreError> {
        self.store.discard(&self.widen(what), &self.amend(act)).await
    }

    async fn purge_history(&self, older_than: Duration, limit: u32) -> Result<u64, StoreError> {
        if self.is(Flaw::PurgesEverything) {
            return self.store.purge_history(Duration::ZERO, u32::MAX).await;
        }
        self.store.purge_history(older_than, limit).await
    }
}

impl Flawed {
    fn widen(&self, what: &Selection) -> Selection {
        match what {
            Selection::All { state, .. } if self.is(Flaw::SelectsEveryTopic) => {
                Selection::All { topic: None, state: *state }
            }
            Selection::All { topic, state } if self.is(Flaw::SelectsTheDead) => {
                Selection::All { topic: topic.clone(), state: state.or(Some(MessageState::Dead)) }
            }
            what => what.clone(),
        }
    }

    /// What is recorded instead of `act`.
    fn amend(&self, act: &Act) -> Act {
        match self.flaw {
            Flaw::TakesAnyAct if act.check().is_err() => Act::new("somebody", "for some reason"),
            Flaw::CutsActs => Act { why: act.why.chars().take(255).collect(), ..act.clone() },
            _ => act.clone(),
        }
    }
}
